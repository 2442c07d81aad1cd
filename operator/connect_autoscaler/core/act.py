"""Carry out a plan: each action one write, or one short series of writes that belong together."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.names import (
    ANNOTATION_PROFILE_UID,
    API_VERSION,
    FIELD_MANAGER,
    FINALIZER_PROFILE,
    FINALIZER_PROTECT,
    KARPENTER_API_VERSION,
    LABEL_MANAGED_BY,
    LABEL_NODEPOOL,
    LABEL_PROFILE,
    PLURAL,
)
from connect_autoscaler.core.digest import digest
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.model import Action, Json, Outcome, Plan, Verb
from connect_autoscaler.core.release_keeper import ReleaseKeeper
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.paths import Element, Path, get, pointer

PROFILES: Final = f"/apis/{API_VERSION}/{PLURAL}"
NODE_POOLS: Final = f"/apis/{KARPENTER_API_VERSION}/nodepools"
NODE_CLAIMS: Final = f"/apis/{KARPENTER_API_VERSION}/nodeclaims"
_REFUSED_FOR: Final = timedelta(seconds=55)
_ROUNDS: Final = 20
"""Upper bound of list-and-patch rounds; Karpenter adds no reference to an existing NodeClaim, so two are usual."""

Seen = Callable[[Json], None]
"""Told of every object that a write gave back, so that the next pass need not wait for its watch event."""


class Actor:
    """Writes for one profile."""

    def __init__(self, kube: Kube, seen: Seen, release: ReleaseKeeper) -> None:
        """Begin.

        Args:
            kube: The connection.
            seen: Told of every object that was written.
            release: Writes beside the release; the release itself is long work and none of an actor's.
        """
        self._kube, self._seen, self._keeper = kube, seen, release
        self._refused: dict[str, tuple[str, datetime, KubeError]] = {}
        self._lost: set[str] = set()
        self._do: Mapping[Verb, Callable[[Action], Awaitable[Json | None]]] = {
            Verb.HOLD: self._hold,
            Verb.LET_GO: self._let_go,
            Verb.FORGET: self._forget,
            Verb.PUBLISH: self._publish,
            Verb.WITHDRAW: self._withdraw,
            Verb.CREATE: self._create,
            Verb.APPLY: self._apply,
            Verb.RECOVER: self._recover,
            Verb.DETACH: self._detach,
            Verb.REATTACH: self._reattach,
            Verb.UNPROTECT: self._unprotect,
            Verb.RELEASE: self._release,
            Verb.DELETE: self._delete,
        }

    def forget_refusals(self) -> None:
        """Try again what the API server refused: the profile changed, or somebody asked."""
        self._refused.clear()

    async def act(self, plan: Plan, now: datetime) -> Outcome:
        """Do the actions in order.

        A failure ends its own target's actions, and keeps the profile's finalizer in place; other targets go on. No
        answer at all ends everything: to wait for one at each target would take longer than a pass may.
        """
        done: list[Action] = []
        failed: list[tuple[Action, KubeError]] = []
        pools: dict[str, Json] = {}
        for action in plan.actions:
            if any(_depends(action, other) for other, _ in failed):
                continue
            try:
                self._check_refused(action, now)
                body = await self._do[action.verb](action)
            except KubeError as error:
                failed.append((action, error))
                if not error.status and error.reason is Reason.API_UNAVAILABLE:
                    break
                if error.retry is Retry.USER:
                    self._refused.setdefault(action.target, (_essence(action), now + _REFUSED_FOR, error))
                continue
            done.append(action)
            self._refused.pop(action.target, None)
            if body is not None:
                self._seen(body)
                if body.get("kind") == "NodePool":
                    pools[action.name] = body
        return Outcome(tuple(done), tuple(failed), pools, frozenset(self._lost))

    def _check_refused(self, action: Action, now: datetime) -> None:
        """Do not repeat what the API server refused for good, until it changes or some time has passed."""
        essence, until, error = self._refused.get(action.target, ("", now, None))
        if error and essence == _essence(action) and now < until:
            raise error
        self._refused.pop(action.target, None)

    async def _hold(self, action: Action) -> Json:
        path, finalizers = "/metadata/finalizers", action.live["metadata"].get("finalizers") or []
        return await self._kube.patch(
            f"{PROFILES}/{action.name}",
            [
                _same_object(action.live),
                # A missing list counts as null.
                {"op": "test", "path": path, "value": finalizers or None},
                {"op": "add", "path": path, "value": [*finalizers, FINALIZER_PROFILE]},
            ],
        )

    async def _forget(self, action: Action) -> None:  # noqa: ARG002 - all that do something have the same form
        await self._keeper.forget()

    async def _publish(self, action: Action) -> None:
        await self._keeper.publish(action.body)

    async def _withdraw(self, action: Action) -> None:
        await self._keeper.withdraw(action.body)

    async def _let_go(self, action: Action) -> None:
        await self._kube.patch(f"{PROFILES}/{action.name}", _without_finalizer(action.live, FINALIZER_PROFILE))

    async def _create(self, action: Action) -> Json:
        """Without force: what somebody else created in the meantime is a conflict, not ours."""
        return await self._kube.apply(f"{NODE_POOLS}/{action.name}", action.body, force=False)

    async def _apply(self, action: Action) -> Json:
        path, live = f"{NODE_POOLS}/{action.name}", action.live
        if len(action.removals) < len(action.differences):
            live = await self._kube.apply(path, action.body)
            self._seen(live)  # should the second write fail, the first is not to be repeated
        if removals := _removals(action, live):
            live = await self._kube.patch(path, [_same_object(live), *removals])
        return live

    async def _recover(self, action: Action) -> None:
        """Save the NodeClaims of a terminating pool, then let it go; the next pass creates it again.

        Karpenter marks NodeClaims for deletion through their ownerReference to the pool and gives references only at
        a NodeClaim's creation, never for a terminating pool: once a list shows none, none can be lost any more.
        What was lost before must not hold the pool: a foreground deletion waits for it, which may take days.
        """
        bound = await self._each(action.name, lambda c: bool(c.owners) and not c.deleting, self._strip)
        bound |= await self._each(action.name, lambda c: c.deleting and _holds_owner(c), self._unblock)
        await self._unprotect(action)
        if bound:
            # The garbage collector may have decided on a NodeClaim just before that lost its reference.
            self._lost |= bound - {c.uid for c in await node_claims(self._kube, action.name) if not c.deleting}

    async def _each(
        self, pool: str, which: Callable[[NodeClaim], bool], patch: Callable[[NodeClaim], Awaitable[Json]]
    ) -> set[str]:
        """Patch NodeClaims of a pool until a list shows none any more that needs it; gives their uids."""
        seen: set[str] = set()
        for _ in range(_ROUNDS):
            claims = [claim for claim in await node_claims(self._kube, pool) if which(claim)]
            if not claims:
                return seen
            for claim in claims:
                await _tolerating_races(patch(claim))
                seen.add(claim.uid)
        raise KubeError(0, Reason.CONFLICT, f"NodeClaims of NodePool {pool} keep changing", Retry.SOON)

    async def _detach(self, action: Action) -> Json | None:
        assert action.claim is not None  # noqa: S101 - a Detach is built with its claim
        return await _tolerating_races(self._strip(action.claim))

    async def _strip(self, claim: NodeClaim) -> Json:
        return await self._kube.patch(
            f"{NODE_CLAIMS}/{claim.name}",
            [
                {"op": "test", "path": "/metadata/uid", "value": claim.uid},
                # What is lost keeps its reference: only that tells it from a NodeClaim that Karpenter removes.
                {"op": "test", "path": "/metadata/deletionTimestamp", "value": None},
                {"op": "test", "path": "/metadata/ownerReferences", "value": list(claim.owners)},
                {"op": "remove", "path": "/metadata/ownerReferences"},
            ],
        )

    async def _unblock(self, claim: NodeClaim) -> Json:
        """Have the garbage collector wait no more for this NodeClaim before it lets its owner go."""
        path = "/metadata/ownerReferences"
        return await self._kube.patch(
            f"{NODE_CLAIMS}/{claim.name}",
            [
                {"op": "test", "path": "/metadata/uid", "value": claim.uid},
                {"op": "test", "path": path, "value": list(claim.owners)},
                {"op": "replace", "path": path, "value": [{**o, "blockOwnerDeletion": False} for o in claim.owners]},
            ],
        )

    async def _reattach(self, action: Action) -> None:
        """Give every live NodeClaim its reference back, so that the pool's deletion reaches it again."""
        uid = action.live["metadata"]["uid"]
        reference = {
            "apiVersion": KARPENTER_API_VERSION,
            "kind": "NodePool",
            "name": action.name,
            "uid": uid,
            "blockOwnerDeletion": True,
        }
        await self._each(
            action.name,
            lambda c: not c.deleting and not c.owned_by(uid),
            lambda c: self._kube.patch(f"{NODE_CLAIMS}/{c.name}", _referring(c, reference)),
        )

    async def _unprotect(self, action: Action) -> Json | None:
        live = await self._fresh(action)
        if live is None or FINALIZER_PROTECT not in live["metadata"].get("finalizers", ()):
            return live
        return await self._kube.patch(f"{NODE_POOLS}/{action.name}", _without_finalizer(live, FINALIZER_PROTECT))

    async def _release(self, action: Action) -> Json | None:
        """Take our marks and finalizer off; the pool itself stays as it is."""
        live = await self._fresh(action)
        if live is None:
            return None
        meta = live["metadata"]
        operations = [_same_object(live)]
        if meta.get("labels", {}).get(LABEL_MANAGED_BY) == FIELD_MANAGER:
            operations.append(_remove(("metadata", "labels", LABEL_MANAGED_BY)))
        if LABEL_PROFILE in meta.get("labels", {}):
            operations.append(_remove(("metadata", "labels", LABEL_PROFILE)))
        if ANNOTATION_PROFILE_UID in meta.get("annotations", {}):
            operations.append(_remove(("metadata", "annotations", ANNOTATION_PROFILE_UID)))
        if FINALIZER_PROTECT in meta.get("finalizers", ()):
            operations += _without_finalizer(live, FINALIZER_PROTECT)
        return await self._kube.patch(f"{NODE_POOLS}/{action.name}", operations)

    async def _delete(self, action: Action) -> None:
        try:
            await self._kube.delete(f"{NODE_POOLS}/{action.name}", action.live["metadata"]["uid"])
        except KubeError as error:
            # It is gone, or another one now, only if the API server says just that.
            if not (error.absent or (error.status == HTTPStatus.CONFLICT and "UID" in error.message)):
                raise

    async def _fresh(self, action: Action) -> Json | None:
        """Read the very pool that was planned for; None if it is gone."""
        live = await self._kube.find(f"{NODE_POOLS}/{action.name}")
        return live if live and live["metadata"]["uid"] == action.live["metadata"]["uid"] else None


async def node_claims(kube: Kube, *pools: str) -> list[NodeClaim]:
    """List the NodeClaims of NodePools.

    Raises:
        KubeError: They cannot be listed.
    """
    answer = await kube.get(NODE_CLAIMS, labelSelector=f"{LABEL_NODEPOOL} in ({','.join(pools)})")
    return [NodeClaim.of(item) for item in answer["items"]]


def _depends(action: Action, failed: Action) -> bool:
    """Whether an action must not be tried after another failed."""
    return action.target == failed.target or action.verb is Verb.LET_GO or failed.verb is Verb.HOLD


async def _tolerating_races(request: Awaitable[Json]) -> Json | None:
    """Ignore a lost race: the caller lists again, or the watch event leads to another pass."""
    try:
        return await request
    except KubeError as error:
        if error.retry is Retry.SOON and error.status in {404, 409, 422}:
            return None
        raise


def _holds_owner(claim: NodeClaim) -> bool:
    return any(owner.get("blockOwnerDeletion") for owner in claim.owners)


def _referring(claim: NodeClaim, reference: Json) -> list[dict[str, Any]]:
    owners = list(claim.owners)
    same = [{"op": "test", "path": "/metadata/ownerReferences", "value": owners}] if owners else []
    return [
        {"op": "test", "path": "/metadata/uid", "value": claim.uid},
        *same,
        {"op": "add", "path": "/metadata/ownerReferences", "value": [*owners, reference]},
    ]


def _same_object(live: Mapping[str, Any]) -> dict[str, Any]:
    return {"op": "test", "path": "/metadata/uid", "value": live["metadata"]["uid"]}


def _without_finalizer(live: Mapping[str, Any], finalizer: str) -> list[dict[str, Any]]:
    at = f"/metadata/finalizers/{live['metadata']['finalizers'].index(finalizer)}"
    return [
        _same_object(live),
        {"op": "test", "path": at, "value": finalizer},
        {"op": "remove", "path": at},
    ]


def _remove(path: tuple[str, ...]) -> dict[str, Any]:
    return {"op": "remove", "path": pointer(path)}


def _removals(action: Action, live: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Operations for undeclared fields; a list goes as a whole, and so does a map of which nothing is left.

    An empty map would not do: Karpenter's hash tells it from an absent one, and so would call every node Drifted.
    Guarded by the values that are to go, not by the resourceVersion: beside a busy writer that would hardly ever match.
    """
    by_parent: dict[Path, list[str | Element]] = {}
    for difference in action.removals:
        if get(live, difference.path) is not None:  # else the apply has removed it: it was ours
            by_parent.setdefault(difference.path[:-1], []).append(difference.path[-1])
    paths: list[Path] = []
    for above, names in by_parent.items():
        whole = isinstance(names[0], Element) or {*names} == {*(get(live, above) or ())}
        paths += [above] if whole else [(*above, name) for name in names]
    return [
        {"op": op, "path": pointer(path), **({"value": get(live, path)} if op == "test" else {})}
        for path in paths
        for op in ("test", "remove")
    ]


def _essence(action: Action) -> str:
    return digest([action.verb, action.body])
