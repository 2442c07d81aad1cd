"""The five checks of the vendor's page ("Testing and validation"), always on. Pure.

Each says what was seen and, if it failed, what to do next. ``lastChanged`` is filled in by the report.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from connect_autoscaler.api.clipping import json_text
from connect_autoscaler.api.status import Check, CheckResult
from connect_autoscaler.nodepools.budgets import always_zero
from connect_autoscaler.nodepools.compare import length
from connect_autoscaler.placement.blockers import blockers
from connect_autoscaler.placement.scene import Json, Scene
from connect_autoscaler.release.overlay import DO_NOT_DISRUPT
from connect_autoscaler.release.pods import Pod
from connect_autoscaler.release.values import get

SERVER_PLACED: Final = "ServerOnServerPool"
SERVER_PROTECTED: Final = "ServerProtected"
CONTENT_PLACED: Final = "ContentOnContentPool"
SERVER_NODES_PERSIST: Final = "ServerNodesPersist"
CONTENT_SCALES_DOWN: Final = "ContentScalesDown"
SERVER_CHECKS: Final = frozenset({SERVER_PLACED, SERVER_PROTECTED, SERVER_NODES_PERSIST})

_SLACK: Final = timedelta(seconds=60)
"""What Karpenter may take beyond consolidateAfter: it looks every few seconds, and drains one node after the other."""
_AGE: Final = timedelta(days=36_500)
"""Longer than anybody looks; the sum of a date and what a duration may be is more than a calendar can hold."""
_SHOWN: Final = 5
_PASSED, _FAILED, _UNKNOWN, _NOT_APPLICABLE = (
    CheckResult.PASSED,
    CheckResult.FAILED,
    CheckResult.UNKNOWN,
    CheckResult.NOT_APPLICABLE,
)


def checks(scene: Scene) -> tuple[Check, ...]:
    """Make all of them."""
    return tuple(check(scene) for check in _CHECKS)


def _server_placed(scene: Scene) -> Check:
    name = SERVER_PLACED
    if (early := _too_early(scene, name)) is not None:
        return early
    if scene.nodes is None:
        return Check(name=name, result=_UNKNOWN, message="Nodes cannot be seen: grant list and watch on nodes")
    strays = list(_strays(scene, scene.running_servers, scene.names(scene.server_pools), scene.placement.server))
    if strays:
        advice = "once the release is configured, delete such a pod when nothing runs on it: it is scheduled anew"
        return _failed(name, strays, advice)
    return _passed(name, f"{len(scene.running_servers)} servers run on the server pool", scene.running_servers)


def _server_protected(scene: Scene) -> Check:
    name = SERVER_PROTECTED
    if (early := _too_early(scene, name)) is not None:
        return early
    bare = [f"{pod.name} lacks {DO_NOT_DISRUPT}" for pod in scene.running_servers if not pod.protected]
    if bare:
        return _failed(name, bare, f"kubectl annotate the pods with {DO_NOT_DISRUPT}=true, or restart the servers")
    return _passed(name, f"{len(scene.running_servers)} servers carry {DO_NOT_DISRUPT}", scene.running_servers)


def _content_placed(scene: Scene) -> Check:
    name = CONTENT_PLACED
    if scene.nodes is None:
        return Check(name=name, result=_UNKNOWN, message="Nodes cannot be seen: grant list and watch on nodes")
    since = scene.since
    judged = [pod for pod in scene.running_content if since and pod.created > since]
    older = len(scene.running_content) - len(judged)
    if not judged:
        told = f"; {older} pods run that started before the overlay" if older else ""
        return Check(name=name, result=_NOT_APPLICABLE, message=f"No content runs that started with the overlay{told}")
    strays = list(_strays(scene, judged, scene.names(scene.content_pools), scene.placement.content))
    if strays:
        return _failed(name, strays, "look for a nodeSelector of the content's own, or another job base")
    spread = Counter(pod.node for pod in judged)
    return _passed(name, f"{len(judged)} content pods run on {len(spread)} nodes of the content pools", judged)


def _server_nodes_persist(scene: Scene) -> Check:
    name = SERVER_NODES_PERSIST
    occupied = {pod.node for pod in scene.running_servers}
    claims = [claim for claim in scene.server_claims if claim.node in occupied]
    if not claims:
        return Check(name=name, result=_NOT_APPLICABLE, message="No server runs on a node of the server pool")
    troubles = [f"NodeClaim {claim.name} is being deleted" for claim in claims if claim.deleting]
    troubles += [
        f"NodeClaim {claim.name} expires at {_date(claim.expires)}, whatever runs on it"
        for claim in claims
        if claim.expires and not _unavoidable(scene)
    ]
    troubles += [
        f"NodePool {pool['metadata']['name']} lets Karpenter disrupt nodes in use"
        for pool in scene.server_pools
        if not closed(pool)
    ]
    if troubles:
        return _failed(name, troubles, "replace such a node at a time of your choice; see status.drift of the NodePool")
    drifted = sum(claim.drifted for claim in claims)
    more = f"; {drifted} of them are drifted and held by the budget" if drifted else ""
    return Check(
        name=name,
        result=_PASSED,
        message=f"{len(claims)} nodes under servers stay{more}",
        observed=json_text(sorted(claim.name for claim in claims)),
    )


def closed(pool: Json) -> bool:
    """Whether a pool's budgets always forbid to disrupt nodes that are in use."""
    budgets = get(pool, ("spec", "disruption", "budgets"))
    return all(always_zero(budgets, reason) for reason in ("Underutilized", "Drifted"))


def _content_scales_down(scene: Scene) -> Check:
    name = CONTENT_SCALES_DOWN
    claims = [claim for claim in scene.content_claims if not claim.deleting]
    if not claims:
        return Check(name=name, result=_PASSED, message="The content pools have no node")
    if scene.running_content or scene.idle_since is None:
        count = len(scene.running_content)
        return Check(name=name, result=_NOT_APPLICABLE, message=f"{count} content pods run on {len(claims)} nodes")
    due = scene.idle_since + _consolidate_after(scene) + _SLACK
    # Who is to blame is told from a survey of the time in which they should have gone.
    if scene.now < due or outdated(scene, scene.survey.begun if scene.survey else None):
        return Check(name=name, result=_NOT_APPLICABLE, message=f"{len(claims)} nodes are idle; due to go soon")
    found = blockers(scene, claims)
    return _failed(name, [f"{len(claims)} idle nodes stay", *found], "end or move what is named, or change the budget")


def scale_down_due(scene: Scene) -> datetime | None:
    """When the last check may change by time alone."""
    if scene.idle_since is None or scene.running_content:
        return None
    due = scene.idle_since + _consolidate_after(scene) + _SLACK
    return due if due > scene.now else None


def outdated(scene: Scene, surveyed: datetime | None) -> bool:
    """Whether a survey is from before the time when idle nodes should have gone, and this time has come."""
    if scene.idle_since is None or surveyed is None:
        return False
    going = scene.idle_since + _consolidate_after(scene)
    return surveyed < going <= scene.now


def _consolidate_after(scene: Scene) -> timedelta:
    texts = (get(pool, ("spec", "disruption", "consolidateAfter")) for pool in scene.content_pools)
    return min(max((length(text) or timedelta() for text in texts), default=timedelta()), _AGE)


def _too_early(scene: Scene, name: str) -> Check | None:
    if not scene.servers:
        return Check(name=name, result=_UNKNOWN, message="There is no server pod")
    if not scene.rolled_out or not scene.running_servers:
        return Check(name=name, result=_UNKNOWN, message="The servers are being rolled out")
    return None


def _strays(scene: Scene, pods: Sequence[Pod], pools: tuple[str, ...], value: str) -> Iterator[str]:
    nodes = scene.nodes or {}
    for pod in pods:
        node = nodes.get(pod.node or "")
        if node is None:
            yield f"{pod.name} runs on {pod.node}, a node of none of the profile's pools"
        elif node.pool not in pools:
            yield f"{pod.name} runs on {node.name} of NodePool {node.pool}"
        elif node.labels.get(scene.placement.label_key) != value:
            yield f"{pod.name} runs on {node.name}, which lacks label {scene.placement.label_key}={value}"


def _unavoidable(scene: Scene) -> bool:
    """Whether the provider lets no node live for ever (EKS Auto Mode); that is a limitation, not a fault."""
    refs = (get(pool, ("spec", "template", "spec", "nodeClassRef", "group")) for pool in scene.server_pools)
    return any(group == "eks.amazonaws.com" for group in refs)


def _date(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%MZ") if moment else "no time"


def _failed(name: str, troubles: list[str], advice: str) -> Check:
    shown = "; ".join(troubles[:_SHOWN]) + (f"; and {len(troubles) - _SHOWN} more" if len(troubles) > _SHOWN else "")
    return Check(name=name, result=_FAILED, message=f"{shown}. To do: {advice}")


def _passed(name: str, message: str, pods: Sequence[Pod]) -> Check:
    observed = {pod.name: pod.node for pod in sorted(pods, key=lambda pod: pod.name)[:_SHOWN]}
    return Check(name=name, result=_PASSED, message=message, observed=json_text(observed))


_CHECKS: Final[tuple[Callable[[Scene], Check], ...]] = (
    _server_placed,
    _server_protected,
    _content_placed,
    _server_nodes_persist,
    _content_scales_down,
)
