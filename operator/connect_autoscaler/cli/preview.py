"""What the operator would decide at this moment: it gathers and plans itself, on a connection that refuses writes."""

import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import click
from kubernetes.aio.config import ConfigException

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.status import Disruption, json_text
from connect_autoscaler.cli.cluster import DEPLOYMENTS, NODE_CLAIMS, NODE_POOLS, PROFILES, Access, Cluster, Json, Kind
from connect_autoscaler.cli.errors import ApiError, CliError, sentence, unusable
from connect_autoscaler.cli.verb import Verb as BaseVerb
from connect_autoscaler.cli.version import SELECTOR
from connect_autoscaler.core.cache import EVERY, Key, Raw
from connect_autoscaler.core.context import Context
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.gather import Gatherer
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.model import Action, Plan, Snapshot, Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.release_model import Phase, Prepared, Work
from connect_autoscaler.core.release_store import this_process
from connect_autoscaler.core.release_tools import Toolbox
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.ownership import mark
from connect_autoscaler.release.charts import Charts
from connect_autoscaler.release.helm import Helm

_TRUE: Final = frozenset({"1", "true", "yes", "on", "t", "y"})
_UPGRADES: Final = frozenset({Verb.UPGRADE.value, Verb.RESTORE.value})
_NO_WRITES: Final = KubeError(0, Reason.INTERNAL_ERROR, "A preview writes nothing", Retry.USER)


class PlanningVerb(BaseVerb):
    """A verb that also uses the operator's own connection, whose errors become sentences, too."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except KubeError as error:
            if error.status == 0:
                words = f"The API server does not answer ({error.message}); is it up, and is --context right?"
                raise CliError(words) from error
            raise CliError(sentence("do this", error.status, error.message)) from error
        except ConfigException as error:
            raise unusable(error) from error


@dataclass(frozen=True)
class World:
    """Objects that decisions need, all of them as one list each gave them."""

    profiles: tuple[Profile, ...]
    pools: tuple[Raw, ...]
    claims: tuple[NodeClaim, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the operator's Deployment, by name of the environment variable."""

    @classmethod
    def of(cls, cluster: Cluster, profile: Profile) -> "World":
        """Read everything beside a profile, which stands in for the live one of its name.

        Args:
            cluster: Where.
            profile: The profile.
        """
        others = (body for body in _existing(cluster, PROFILES) if body["metadata"]["name"] != profile.name)
        return cls(
            (profile, *map(Profile.of, others)),
            tuple(Raw(body) for body in _existing(cluster, NODE_POOLS)),
            tuple(NodeClaim.of(body) for body in _existing(cluster, NODE_CLAIMS)),
            _settings(cluster),
        )

    def fill(self, context: Context) -> None:
        """Have a context know them, under the keys that the operator's own indices have."""
        profiles = [(key, p) for p in self.profiles for key in (EVERY, ("name", p.name), *_pools(p))]
        pools = [(key, pool) for pool in self.pools for key in (("name", pool.name), *_marks(pool))]
        claims = [(key, c) for c in self.claims for key in (("name", c.name), ("pool", c.pool))]
        context.profiles.attach(_index(profiles))
        context.pools.attach(_index(pools))
        context.claims.attach(_index(claims))


@asynccontextmanager
async def gathering(context: Context) -> AsyncIterator[Gatherer]:
    """Gather as the operator does, without the Connect API; what happens meanwhile goes unheard.

    Args:
        context: What is known; decides also whether anything may be written.
    """
    gatherer = Gatherer(context, lambda: None, lambda _: None, connect_api=False)
    try:
        yield gatherer
    finally:
        await gatherer.close()


@asynccontextmanager
async def context_of(access: Access, world: World, *, writes: bool = False) -> AsyncIterator[Context]:
    """Connect as the operator does, with the user's own rights.

    Args:
        access: To which cluster.
        world: What is known.
        writes: Whether anything may be written; else every attempt raises.
    """
    with tempfile.TemporaryDirectory(prefix="connect-autoscaler-") as home:
        helm = Helm("helm", Path(home))
        tools = Toolbox(
            helm=helm,
            charts=Charts(helm, sources=(), directory=None),
            holder=this_process(),
            namespaces=_namespaces(world.settings.get("CONNECT_AUTOSCALER_RELEASE_NAMESPACES")),
            account_required=world.settings.get("CONNECT_AUTOSCALER_REQUIRE_SERVICE_ACCOUNT", "").lower() in _TRUE,
        )
        async with await Kube.connect(access.files, access.chosen) as kube:
            if not writes:
                kube.guard = _refuse
            context = Context(kube, tools)
            world.fill(context)
            yield context


async def preview(access: Access, world: World) -> tuple[Snapshot, Plan]:
    """Gather and plan for the first profile of a world.

    What only the running operator knows is taken from the profile's status: whether the upgrade that it has proven
    restarts the servers (else it is taken to, as nearly every one does), and what is under way.

    Raises:
        KubeError: What every decision needs cannot be read.
    """
    profile = world.profiles[0]
    async with context_of(access, world) as context, gathering(context) as gatherer:
        now = context.clock()
        snapshot = informed(await gatherer.gather(profile))
        return snapshot, plan(snapshot, now)


def informed(snapshot: Snapshot) -> Snapshot:
    """Add what the operator has found out about the release, as far as the profile's status tells."""
    view, status = snapshot.release, snapshot.profile.status
    if view is None:
        return snapshot
    if status.attempt and status.attempt.phase != Phase.PREPARING:
        started = status.attempt.started_at or snapshot.profile.created
        work = Work(status.attempt.id, Phase(status.attempt.phase or Phase.UPGRADING), started)
        return replace(snapshot, release=replace(view, work=work))
    current = status.observed_generation == snapshot.profile.generation
    costs = {each.disruption for each in status.plan if current and each.action in _UPGRADES}
    prepared = Prepared(view.key, restarts=costs != {Disruption.NONE})
    return replace(snapshot, release=replace(view, prepared=prepared))


def rows(decided: Plan) -> list[Json]:
    """What would be done, each as ``status.plan`` has it, with the values; the greatest cost first."""
    work = decided.release.work if decided.release else None
    begun = [work] if work and work.verb is not Verb.PREPARE else []
    waiting: Iterable[tuple[Action, Reason | None]] = decided.deferred
    actions = [*waiting, *((action, None) for action in (*begun, *decided.actions))]
    return [_row(*each) for each in sorted(actions, key=lambda each: -_COSTS.index(each[0].disruption))]


_COSTS: Final = ("None", "OutdatesNodes", "ReplacesNodes", "RestartsServer")
COSTS: Final = tuple(reversed(_COSTS))
"""What actions cost, the greatest first."""


def problems(decided: Plan) -> list[Problem]:
    """Everything in the way, each thing once."""
    found = [*decided.problems, *(pool.problem for pool in decided.pools if pool.problem)]
    if decided.release and decided.release.problem:
        found.append(decided.release.problem)
    return list(dict.fromkeys(found))


def _row(action: Action, reason: Reason | None) -> Json:
    made: Json = {
        "action": action.verb.value,
        "target": action.target,
        "fields": list(action.fields),
        "disruption": action.disruption.value,
        "differences": [
            {"path": each.pointer, **_value("expected", each.expected), **_value("actual", each.actual)}
            for each in action.differences
        ],
    }
    if action.node_claims:
        made["nodeClaims"] = action.node_claims
    if reason is not None:
        made |= {"reason": reason.value, "message": reason.explain}
    return made


def _value(name: str, value: Any) -> Json:
    return {} if value is None else {name: json_text(value)}


def _settings(cluster: Cluster) -> dict[str, str]:
    """How the operator was told to behave; nothing, if its Deployment cannot be seen."""
    try:
        found = cluster.list(DEPLOYMENTS, labelSelector=SELECTOR)
    except ApiError:
        return {}
    containers = (c for body in found for c in body["spec"]["template"]["spec"]["containers"])
    return {each["name"]: each["value"] for c in containers for each in c.get("env", ()) if "value" in each}


def _namespaces(text: str | None) -> frozenset[str] | None:
    return frozenset(text.replace(",", " ").split()) if text else None


def _refuse() -> None:
    raise _NO_WRITES


def _pools(profile: Profile) -> list[Key]:
    return [("pool", pool.name) for pool in profile.pools]


def _marks(pool: Raw) -> list[Key]:
    return [("mark", by) for by in mark(pool) if by]


def _index(entries: Iterable[tuple[Key, Any]]) -> dict[Key, list[Any]]:
    made: dict[Key, list[Any]] = {}
    for key, value in entries:
        made.setdefault(key, []).append(value)
    return made


def _existing(cluster: Cluster, kind: Kind) -> list[Json]:
    """All objects of a kind of Karpenter's; none where Karpenter is not installed."""
    return cluster.list(kind) if cluster.knows(kind) else []
