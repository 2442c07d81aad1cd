"""The limits of the protection that are met at the moment, as figures. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from connect_autoscaler.api.status import Limitation
from connect_autoscaler.nodepools.compare import amount
from connect_autoscaler.placement.scene import Scene
from connect_autoscaler.release.lists import elements, tolerates
from connect_autoscaler.release.overlay import toleration
from connect_autoscaler.release.values import get

_POD: Final = ("spec", "template", "spec")
_SPOT: Final = "spot"
_LISTED: Final = 5


def limitations(scene: Scene, known: Iterable[Limitation] = ()) -> tuple[Limitation, ...]:
    """All that are met.

    Args:
        scene: What there is.
        known: What was met before: until the first survey after a start, what only surveys tell is as it was.
    """
    before = {} if scene.survey else {limit.name: limit for limit in known}
    found = (limit(scene) or before.get(_SURVEYED.get(limit, "")) for limit in _LIMITS)
    return tuple(each for each in found if each is not None and each.count)


def _interactive(scene: Scene) -> Limitation:
    count = sum(not pod.protected for pod in scene.running_content)
    return Limitation(
        name="InteractiveUnprotected",
        count=count,
        message="Content pods without protection: Karpenter may move them, and their users lose what they typed",
    )


def _single(scene: Scene) -> Limitation:
    alone = get(scene.deployment, ("spec", "replicas")) == 1
    return Limitation(
        name="SingleReplica",
        count=int(alone),
        message="One server only: each restart interrupts all users; set replicas to 2 or more",
    )


def _no_budget(scene: Scene) -> Limitation | None:
    replicas = get(scene.deployment, ("spec", "replicas")) or 0
    if scene.survey is None or replicas < 2:  # noqa: PLR2004 - a budget on a single server only blocks drains
        return None
    labels = get(scene.deployment, ("spec", "template", "metadata", "labels")) or {}
    selectors = (get(budget, ("spec", "selector", "matchLabels")) or {} for budget in scene.survey.budgets)
    covered = any(selector and selector.items() <= labels.items() for selector in selectors)
    return Limitation(
        name="NoDisruptionBudget",
        count=0 if covered else replicas,
        message="Servers without a PodDisruptionBudget: a drain may take all at once; set podDisruptionBudget",
    )


def _expiry(scene: Scene) -> Limitation:
    dates = sorted(claim.expires for claim in scene.server_claims if claim.expires and not claim.deleting)
    first = f" first at {dates[0]:%Y-%m-%d %H:%MZ};" if dates else ""
    return Limitation(
        name="ServerNodesExpire",
        count=len(dates),
        message=f"Server nodes that expire,{first} do-not-disrupt does not stop it: replace them before, one by one",
    )


def _spot(scene: Scene) -> Limitation:
    under = {pod.node for pod in scene.running_servers}
    count = sum(node.capacity == _SPOT for node in (scene.nodes or {}).values() if node.name in under)
    return Limitation(
        name="SpotUnderServer",
        count=count,
        message="Spot nodes under servers: the cloud may take them at any time; require on-demand for the server pool",
    )


def _requests(scene: Scene) -> Limitation:
    containers = get(scene.deployment, (*_POD, "containers")) or ()
    bare = [c for c in containers if not (get(c, ("resources", "requests")) or get(c, ("resources", "limits")))]
    return Limitation(
        name="NoResourceRequests",
        count=len(bare),
        message="Server containers without resource requests: Karpenter buys the smallest node; set resources.requests",
    )


def _shared(scene: Scene) -> Limitation:
    nodes = Counter(pod.node for pod in scene.running_servers)
    return Limitation(
        name="ServersShareNode",
        count=sum(count for count in nodes.values() if count > 1),
        message="Servers that share a node go down together; set spec.server.topologySpread",
    )


def _capacity(scene: Scene) -> Limitation | None:
    """A rollout starts all new servers before the old ones go (maxSurge 100 %)."""
    replicas = get(scene.deployment, ("spec", "replicas")) or 0
    needed: dict[str, Any] = {}
    for container in get(scene.deployment, (*_POD, "containers")) or ():
        for name, much in (get(container, ("resources", "requests")) or {}).items():
            needed[name] = needed.get(name, 0) + parse_quantity(much) * replicas * 2
    for pool in scene.server_pools:
        limits = get(pool, ("spec", "limits")) or {}
        short = sorted(
            name for name, much in needed.items() if (limit := amount(limits.get(name))) is not None and limit < much
        )
        if short:
            return Limitation(
                name="RolloutCapacity",
                count=len(short),
                message=f"NodePool {pool['metadata']['name']} has limits ({', '.join(short)}) below what a rollout "
                f"needs: room for {2 * replicas} servers",
            )
    return None


def _daemons(scene: Scene) -> Limitation | None:
    if scene.survey is None:
        return None
    taints = [t for pool in scene.server_pools for t in get(pool, ("spec", "template", "spec", "taints")) or ()]
    repelled = sorted(
        f"{daemon['metadata']['namespace']}/{daemon['metadata']['name']}"
        for daemon in scene.survey.daemons
        if not all(_tolerated(daemon, taint) for taint in taints) and not get(daemon, (*_POD, "nodeSelector"))
    )
    more = f" and {len(repelled) - _LISTED} more" if len(repelled) > _LISTED else ""
    return Limitation(
        name="DaemonSetsRepelled",
        count=len(repelled),
        message=f"DaemonSets that the taint keeps off server nodes: {', '.join(repelled[:_LISTED])}{more}; "
        "give them a toleration if servers need them",
    )


def _tolerated(daemon: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    needed = toleration(taint)
    return any(tolerates(each, needed) for each in elements(get(daemon, (*_POD, "tolerations"))))


_LIMITS: Final[tuple[Callable[[Scene], Limitation | None], ...]] = (
    _interactive,
    _single,
    _no_budget,
    _expiry,
    _spot,
    _requests,
    _shared,
    _capacity,
    _daemons,
)
_SURVEYED: Final[Mapping[Callable[[Scene], Limitation | None], str]] = {
    _no_budget: "NoDisruptionBudget",
    _daemons: "DaemonSetsRepelled",
}
