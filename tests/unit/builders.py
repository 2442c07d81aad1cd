"""Values that the pure layers work on: profiles, live NodePools, NodeClaims, and snapshots of them."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from connect_autoscaler.api.conditions import Problem
from connect_autoscaler.api.names import FIELD_MANAGER, FINALIZER_PROFILE, LABEL_NODEPOOL
from connect_autoscaler.api.profile import Pool, Profile
from connect_autoscaler.core.model import Snapshot
from connect_autoscaler.core.plan import plan
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.karpenter import Karpenter
from connect_autoscaler.nodepools.ownership import Peer
from connect_autoscaler.nodepools.render import render
from profile_specs import SMALLEST, merged
from unit.apply import managed_by

Json = dict[str, Any]

NOW: Final = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

_OPERATORS: Final = frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"})
KARPENTER_1_14: Final = Karpenter(
    operators=_OPERATORS,
    consolidation_policies=frozenset({"WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"}),
    budget_reasons=frozenset({"Underutilized", "Empty", "Drifted"}),
    atomic_labels=True,
)
KARPENTER_1_15: Final = replace(KARPENTER_1_14, budget_reasons=KARPENTER_1_14.budget_reasons | {"Unhealthy"})
READY: Final = {"Ready": "True", "ValidationSucceeded": "True", "NodeClassReady": "True"}


def stamp(moment: datetime) -> str:
    """Write a time as the API server does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def profile(
    spec: Mapping[str, Any] | None = None,
    *,
    name: str = "production",
    uid: str | None = None,
    generation: int = 1,
    created: datetime = NOW - timedelta(days=30),
    deleting: bool = False,
    finalizers: Iterable[str] = (FINALIZER_PROFILE,),
    annotations: Mapping[str, str] | None = None,
    status: Mapping[str, Any] | None = None,
) -> Profile:
    """Return a profile; the spec is laid over the smallest valid one."""
    metadata = {
        "name": name,
        "uid": uid or f"uid-of-{name}",
        "generation": generation,
        "resourceVersion": "7",
        "creationTimestamp": stamp(created),
        "finalizers": list(finalizers),
        "annotations": dict(annotations or {}),
    }
    if deleting:
        metadata["deletionTimestamp"] = stamp(NOW)
    return Profile.of({"metadata": metadata, "spec": merged(SMALLEST, dict(spec or {})), "status": dict(status or {})})


def pool_of(owner: Profile, name: str) -> Pool:
    """Return one of the profile's pools."""
    return next(pool for pool in owner.pools if pool.name == name)


def live_pool(owner: Profile, name: str, karpenter: Karpenter = KARPENTER_1_14, *, age: float = 3600.0) -> Json:
    """Return a NodePool as the operator wrote it and Karpenter found it good.

    Args:
        owner: Profile that wrote it.
        name: Name of one of its Managed pools.
        karpenter: What Karpenter was installed at the time.
        age: Seconds since its creation.
    """
    live = copy.deepcopy(render(owner, pool_of(owner, name), karpenter))
    live["metadata"].update(
        uid=f"uid-of-{name}",
        resourceVersion="1",
        generation=1,
        creationTimestamp=stamp(NOW - timedelta(seconds=age)),
        managedFields=[managed_by(FIELD_MANAGER, live, stamp(NOW - timedelta(seconds=age)), operation="Apply")],
    )
    live["metadata"]["annotations"]["karpenter.sh/nodepool-hash"] = "1"
    return judged(live)


def judged(live: Mapping[str, Any], conditions: Mapping[str, str] | None = None) -> Json:
    """Return the NodePool with Karpenter's verdict on its present generation; Ready by default."""
    found = [
        {"type": kind, "status": status, "reason": kind, "observedGeneration": live["metadata"]["generation"]}
        for kind, status in (READY if conditions is None else conditions).items()
    ]
    return {**copy.deepcopy(dict(live)), "status": {"conditions": found}}


def edited(
    live: Mapping[str, Any], change: Mapping[str, Any], manager: str = "kubectl-edit", at: datetime = NOW
) -> Json:
    """Return the NodePool after somebody's merge patch; None removes a field, as in RFC 7386."""
    result = _patched(live, change)
    meta = result["metadata"]
    meta["generation"] += 1
    meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
    meta["managedFields"] = [*meta.get("managedFields", ()), managed_by(manager, change, stamp(at))]
    return result


def _patched(document: Mapping[str, Any], change: Mapping[str, Any]) -> Json:
    result = copy.deepcopy(dict(document))
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = _patched(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def terminating(live: Mapping[str, Any]) -> Json:
    """Return the NodePool after a deletion that its finalizers hold up."""
    return _patched(live, {"metadata": {"deletionTimestamp": stamp(NOW)}})


NODE_LABELS: Final = {
    "kubernetes.io/arch": "amd64",
    "kubernetes.io/os": "linux",
    "karpenter.sh/capacity-type": "on-demand",
}


def claim(
    pool: Mapping[str, Any],
    name: str = "claim-1",
    *,
    conditions: Iterable[str] = ("Launched", "Registered", "Ready"),
    owned: bool = True,
    deleting: bool = False,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    created: datetime = NOW - timedelta(minutes=30),
) -> NodeClaim:
    """Return a NodeClaim that Karpenter made from a NodePool as it stands.

    Args:
        pool: The NodePool.
        name: Name of the NodeClaim.
        conditions: Those that are True.
        owned: Whether it still refers to its NodePool.
        deleting: Whether it is being deleted.
        labels: More labels, or other values.
        annotations: The same of annotations.
        spec: The same of its spec; None removes a field.
        created: When it was made.
    """
    template = pool["spec"]["template"]
    meta = template.get("metadata", {})
    own = {"taints", "startupTaints", "expireAfter", "terminationGracePeriod", "nodeClassRef"}
    metadata: Json = {
        "name": name,
        "uid": f"uid-of-{name}",
        "resourceVersion": "3",
        "creationTimestamp": stamp(created),
        "labels": {
            **(NODE_LABELS if "Launched" in conditions else {}),
            **meta.get("labels", {}),
            LABEL_NODEPOOL: pool["metadata"]["name"],
            **(labels or {}),
        },
        "annotations": {**meta.get("annotations", {}), "karpenter.sh/nodepool-hash": "1", **(annotations or {})},
    }
    if owned:
        metadata["ownerReferences"] = [{"kind": "NodePool", "uid": pool["metadata"]["uid"]}]
    if deleting:
        metadata["deletionTimestamp"] = stamp(NOW)
    return NodeClaim.of(
        {
            "metadata": metadata,
            "spec": _patched({k: v for k, v in template["spec"].items() if k in own}, spec or {}),
            "status": {"conditions": [{"type": kind, "status": "True"} for kind in conditions]},
        }
    )


def peer(name: str, **fields: Any) -> Peer:
    """Return another profile's claims; arguments are those of `profile`."""
    return Peer.of(profile(name=name, **fields))


def snapshot(
    owner: Profile,
    pools: Iterable[Json] = (),
    claims: Iterable[NodeClaim] = (),
    *,
    karpenter: Karpenter | None = KARPENTER_1_14,
    node_class: Problem | None = None,
    **fields: Any,
) -> Snapshot:
    """Return what a pass sees.

    Args:
        owner: The profile.
        pools: Every live NodePool.
        claims: Every NodeClaim.
        karpenter: None is no CRD.
        node_class: What is wrong with every NodeClass.
        **fields: Further fields of `Snapshot`.
    """
    by_pool: dict[str, list[NodeClaim]] = {}
    for each in claims:
        by_pool.setdefault(each.pool, []).append(each)
    return Snapshot(
        profile=owner,
        karpenter=karpenter,
        node_classes={pool.node_class_key: node_class for pool in owner.pools},
        pools={live["metadata"]["name"]: live for live in pools},
        claims=by_pool,
        **{"peers": (), **fields},
    )


def recorded(seen: Snapshot, *names: str) -> Snapshot:
    """Return the snapshot with a status that says: this generation was brought to these pools (by default all)."""
    decided = plan(seen, NOW)
    pools = [
        {"name": pool.pool.name, "role": pool.pool.role, "specHash": pool.digest}
        for pool in decided.pools
        if pool.digest and pool.pool.managed and (not names or pool.pool.name in names)
    ]
    status = {"observedGeneration": seen.profile.generation, "nodePools": pools}
    return replace(seen, profile=replace(seen.profile, status=type(seen.profile.status).model_validate(status)))


Bend = Callable[[Json], Json]


def settled(
    spec: Mapping[str, Any] | None = None,
    *,
    bend: Mapping[str, Bend] | None = None,
    claims: Callable[[Mapping[str, Json]], Iterable[NodeClaim]] | None = None,
    karpenter: Karpenter = KARPENTER_1_14,
    written: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Snapshot:
    """Return a profile that was rolled out, and what others did to its NodePools since.

    Args:
        spec: Its spec, over the smallest.
        bend: By name of a pool, what was done to it.
        claims: NodeClaims, given the pools as they were rolled out.
        karpenter: The installed Karpenter.
        written: Spec at the time of the roll-out if the profile was changed since.
        **fields: Arguments of `profile` and of `snapshot`.
    """
    about = {"name", "uid", "generation", "created", "deleting", "finalizers", "annotations"}
    of_profile = {key: value for key, value in fields.items() if key in about}
    of_snapshot = {key: value for key, value in fields.items() if key not in about}
    before = profile(written if written is not None else spec, **{**of_profile, "deleting": False})
    pools = {pool.name: live_pool(before, pool.name, karpenter) for pool in before.pools if pool.managed}
    status = recorded(snapshot(before, pools.values(), karpenter=karpenter)).profile.status
    after = replace(profile(spec, **of_profile), status=status)
    made = tuple(claims(pools)) if claims else ()
    bent = [(bend or {}).get(name, _as_it_is)(live) for name, live in pools.items()]
    return snapshot(after, [live for live in bent if live], made, karpenter=karpenter, **of_snapshot)


def _as_it_is(live: Json) -> Json:
    return live


def gone(_: Json) -> Json:
    """A bend: the NodePool does not exist."""
    return {}
