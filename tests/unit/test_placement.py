"""The checks of placement: one property broken at a time makes the right check fail, and only it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connect_autoscaler.api.placement import Placement
from connect_autoscaler.api.pools import Role
from connect_autoscaler.api.status import CheckResult, ProfileStatus
from connect_autoscaler.core import report
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.placement import checks as c
from connect_autoscaler.placement.checks import checks, scale_down_due
from connect_autoscaler.placement.limitations import limitations
from connect_autoscaler.placement.scene import Guest, Node, Scene, Survey
from connect_autoscaler.release.pods import Pod
from unit.builders import settled
from unit.reporting import status_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=2)
SINCE = NOW - timedelta(hours=1)
TAINT = {"key": "workload", "value": "connect-server", "effect": "NoSchedule"}
PASSED, FAILED = CheckResult.PASSED, CheckResult.FAILED
UNKNOWN, NOT_APPLICABLE = CheckResult.UNKNOWN, CheckResult.NOT_APPLICABLE


def pool(name: str, **spec: Any) -> dict[str, Any]:
    disruption = {"consolidateAfter": "30s", "budgets": [{"nodes": "10%"}]}
    return {"metadata": {"name": name}, "spec": {"disruption": disruption, "template": {"spec": {}}, **spec}}


def server_pool(**spec: Any) -> dict[str, Any]:
    budgets = [{"nodes": "0", "reasons": ["Underutilized", "Drifted"]}, {"nodes": "1", "reasons": ["Empty"]}]
    template = {"spec": {"taints": [TAINT], "nodeClassRef": {"group": "karpenter.k8s.aws"}}}
    return pool("servers", **{"disruption": {"budgets": budgets}, "template": template, **spec})


def pod(name: str, node: str | None, *, created: datetime = NOW, protected: bool = True, **more: Any) -> Pod:
    made = Pod(
        name=name, namespace="posit", uid=f"uid-{name}", created=created, phase="Running",
        ready=True, terminating=False, node=node, protected=protected, body={},
    )  # fmt: skip
    return replace(made, **more)


def node(name: str, of: str, value: str, capacity: str = "on-demand") -> Node:
    return Node(name, of, capacity, {"workload": value}, terminating=False)


def claim(name: str, of: str, on: str, *, expire_after: str = "Never", **more: Any) -> NodeClaim:
    body = {
        "metadata": {
            "name": name, "uid": name, "resourceVersion": "1", "creationTimestamp": "2026-11-01T00:00:00Z",
            "labels": {"karpenter.sh/nodepool": of}, "annotations": more.pop("annotations", {}),
        },
        "spec": {"expireAfter": expire_after},
        "status": {"nodeName": on},
    }  # fmt: skip
    return replace(NodeClaim.of(body), **more)


def guest(name: str = "stranger", on: str = "n2", **more: Any) -> Guest:
    return replace(
        Guest("elsewhere", name, f"uid-{name}", on, protected=False, daemon=False, labels={"app": name}), **more
    )


def deployment(replicas: int = 2, **container: Any) -> dict[str, Any]:
    containers = [{"name": "connect", "resources": {"requests": {"cpu": "1"}}, **container}]
    template = {"metadata": {"labels": {"app": "connect"}}, "spec": {"containers": containers}}
    return {"spec": {"replicas": replicas, "template": template}}


BUDGET = {"metadata": {"namespace": "posit"}, "spec": {"selector": {"matchLabels": {"app": "connect"}}}}
GOOD = Scene(
    now=NOW,
    placement=Placement(),
    server_pools=[server_pool()],
    content_pools=[pool("content")],
    server_claims=[claim("c0", "servers", "n0"), claim("c1", "servers", "n1")],
    content_claims=[claim("c2", "content", "n2")],
    nodes={
        "n0": node("n0", "servers", "connect-server"),
        "n1": node("n1", "servers", "connect-server"),
        "n2": node("n2", "content", "connect-content"),
    },
    servers=[pod("s0", "n0", created=SINCE), pod("s1", "n1", created=SINCE)],
    content=[pod("r0", "n2")],
    deployment=deployment(),
    rolled_out=True,
    since=SINCE,
    idle_since=None,
    survey=Survey(budgets=(BUDGET,)),
)


def results(scene: Scene) -> dict[str, CheckResult]:
    return {check.name: check.result for check in checks(scene)}


def test_a_good_scene_passes_and_has_no_limitation() -> None:
    expected = dict.fromkeys(results(GOOD), PASSED) | {c.CONTENT_SCALES_DOWN: NOT_APPLICABLE}
    assert results(GOOD) == expected
    assert limitations(GOOD) == ()


IDLE = replace(GOOD, content=[], idle_since=NOW - timedelta(seconds=91))


@pytest.mark.parametrize(
    ("broken", "name", "word"),
    [
        (replace(GOOD, servers=[pod("s0", "n2", created=SINCE)]), c.SERVER_PLACED, "NodePool content"),
        (
            replace(GOOD, servers=[pod("s0", "elsewhere", created=SINCE)]),
            c.SERVER_PLACED,
            "none of the profile's pools",
        ),
        (
            replace(GOOD, nodes={**(GOOD.nodes or {}), "n0": node("n0", "servers", "other")}),
            c.SERVER_PLACED,
            "lacks label",
        ),
        (replace(GOOD, servers=[pod("s0", "n0", created=SINCE, protected=False)]), c.SERVER_PROTECTED, "s0 lacks"),
        (replace(GOOD, content=[pod("r0", "n0")]), c.CONTENT_PLACED, "NodePool servers"),
        (
            replace(GOOD, server_claims=[claim("c0", "servers", "n0", deleting=True)]),
            c.SERVER_NODES_PERSIST,
            "c0 is being deleted",
        ),
        (
            replace(GOOD, server_claims=[claim("c0", "servers", "n0", expire_after="720h")]),
            c.SERVER_NODES_PERSIST,
            "expires at 2026-12-01 00:00Z",
        ),
        (
            replace(GOOD, server_pools=[server_pool(disruption={"budgets": [{"nodes": "10%"}]})]),
            c.SERVER_NODES_PERSIST,
            "lets Karpenter disrupt",
        ),
        (
            replace(IDLE, survey=Survey(guests=(guest(),))),
            c.CONTENT_SCALES_DOWN,
            "elsewhere/stranger on n2 is not Connect's",
        ),
        (
            replace(IDLE, survey=Survey(guests=(guest(protected=True),))),
            c.CONTENT_SCALES_DOWN,
            "carries karpenter.sh/do-not-disrupt",
        ),
        (
            replace(
                IDLE,
                content_pools=[pool("content", disruption={"budgets": [{"nodes": "0"}], "consolidateAfter": "30s"})],
            ),
            c.CONTENT_SCALES_DOWN,
            "budget of 0",
        ),
        (
            replace(
                IDLE, content_claims=[claim("c2", "content", "n2", annotations={"karpenter.sh/do-not-disrupt": "true"})]
            ),
            c.CONTENT_SCALES_DOWN,
            "NodeClaim c2 carries",
        ),
        (replace(IDLE, survey=None), c.CONTENT_SCALES_DOWN, "cannot be seen"),
        (IDLE, c.CONTENT_SCALES_DOWN, "Karpenter's own events"),
        (
            replace(IDLE, survey=Survey(begun=NOW - timedelta(seconds=61))),
            c.CONTENT_SCALES_DOWN,
            "Karpenter's own events",
        ),
    ],
)
def test_one_broken_property_fails_one_check(broken: Scene, name: str, word: str) -> None:
    failed = [check for check in checks(broken) if check.result is FAILED]
    assert [check.name for check in failed] == [name]
    assert word in (failed[0].message or "")
    assert "To do: " in (failed[0].message or "")


@pytest.mark.parametrize(
    ("scene", "name", "result"),
    [
        (replace(GOOD, servers=[]), c.SERVER_PLACED, UNKNOWN),
        (replace(GOOD, rolled_out=False), c.SERVER_PROTECTED, UNKNOWN),
        (replace(GOOD, nodes=None), c.SERVER_PLACED, UNKNOWN),
        (replace(GOOD, nodes=None), c.CONTENT_PLACED, UNKNOWN),
        (replace(GOOD, content=[pod("old", "n0", created=BEFORE)]), c.CONTENT_PLACED, NOT_APPLICABLE),
        (replace(GOOD, content=[pod("old", "n0")], since=None), c.CONTENT_PLACED, NOT_APPLICABLE),
        (replace(GOOD, content_claims=[]), c.CONTENT_SCALES_DOWN, PASSED),
        (replace(IDLE, idle_since=NOW - timedelta(seconds=89)), c.CONTENT_SCALES_DOWN, NOT_APPLICABLE),
        (replace(IDLE, survey=Survey(begun=NOW - timedelta(seconds=62))), c.CONTENT_SCALES_DOWN, NOT_APPLICABLE),
        (replace(GOOD, server_claims=[claim("c0", "servers", "n0", drifted=True)]), c.SERVER_NODES_PERSIST, PASSED),
        (
            replace(GOOD, server_claims=[claim("c9", "servers", "n9", deleting=True)]),
            c.SERVER_NODES_PERSIST,
            NOT_APPLICABLE,
        ),
    ],
)
def test_what_is_no_failure(scene: Scene, name: str, result: CheckResult) -> None:
    assert results(scene)[name] is result
    assert FAILED not in results(scene).values()


def test_a_provider_that_lets_no_node_live_for_ever_is_a_limitation() -> None:
    template = {"spec": {"taints": [TAINT], "nodeClassRef": {"group": "eks.amazonaws.com"}}}
    claims = [claim("c0", "servers", "n0", expire_after="504h")]
    scene = replace(GOOD, server_pools=[server_pool(template=template)], server_claims=claims)
    assert results(scene)[c.SERVER_NODES_PERSIST] is PASSED
    (limit,) = limitations(scene)
    assert limit.name == "ServerNodesExpire"
    assert "2026-11-22 00:00Z" in (limit.message or "")


def test_time_alone_decides_on_scale_down() -> None:
    idle = replace(IDLE, idle_since=NOW)
    assert scale_down_due(idle) == NOW + timedelta(seconds=90)
    assert scale_down_due(GOOD) is None
    assert scale_down_due(IDLE) is None


@pytest.mark.parametrize(
    ("scene", "name", "count"),
    [
        (replace(GOOD, content=[pod("app", "n2", protected=False)]), "InteractiveUnprotected", 1),
        (replace(GOOD, deployment=deployment(1)), "SingleReplica", 1),
        (replace(GOOD, survey=Survey()), "NoDisruptionBudget", 2),
        (replace(GOOD, server_claims=[claim("c0", "servers", "n0", expire_after="720h")]), "ServerNodesExpire", 1),
        (
            replace(GOOD, nodes={**(GOOD.nodes or {}), "n0": node("n0", "servers", "connect-server", "spot")}),
            "SpotUnderServer",
            1,
        ),
        (replace(GOOD, deployment=deployment(resources={})), "NoResourceRequests", 1),
        (replace(GOOD, servers=[pod("s0", "n0"), pod("s1", "n0")]), "ServersShareNode", 2),
        (replace(GOOD, server_pools=[server_pool(limits={"cpu": "3500m"})]), "RolloutCapacity", 1),
        (
            replace(
                GOOD, survey=Survey(budgets=(BUDGET,), daemons=({"metadata": {"namespace": "kube", "name": "log"}},))
            ),
            "DaemonSetsRepelled",
            1,
        ),
    ],
)
def test_each_limitation_is_met_alone(scene: Scene, name: str, count: int) -> None:
    assert [(limit.name, limit.count) for limit in limitations(scene)] == [(name, count)]


def test_room_for_a_rollout_is_enough_when_it_is_just_enough() -> None:
    assert limitations(replace(GOOD, server_pools=[server_pool(limits={"cpu": "4"})])) == ()


def test_a_daemon_that_tolerates_everything_is_not_repelled() -> None:
    spec = {"template": {"spec": {"tolerations": [{"operator": "Exists"}]}}}
    daemons = ({"metadata": {"namespace": "kube", "name": "log"}, "spec": spec},)
    assert limitations(replace(GOOD, survey=Survey(budgets=(BUDGET,), daemons=daemons))) == ()


def test_until_the_first_survey_it_is_as_before() -> None:
    known = limitations(replace(GOOD, survey=Survey()))
    assert [each.name for each in known] == ["NoDisruptionBudget"]
    assert limitations(replace(GOOD, survey=None), known) == known
    assert limitations(replace(GOOD, survey=None)) == ()
    assert limitations(replace(GOOD, survey=Survey(budgets=(BUDGET,))), known) == ()


def test_foreign_pods_are_neither_connects_nor_daemons() -> None:
    guests = (guest("b"), guest("a"), guest("own", uid="uid-r0"), guest("agent", daemon=True))
    assert [each.name for each in replace(GOOD, survey=Survey(guests=guests)).foreign] == ["a", "b"]


EMPTY = replace(GOOD, content=[], survey=Survey(nodes=frozenset({"n0", "n1", "n2"})))
KNOWN = frozenset({"n2"})


@pytest.mark.parametrize(
    ("scene", "servers", "content"),
    [
        (EMPTY, 0, 1),
        (replace(EMPTY, content=[pod("r0", "n2")]), 0, 0),
        (replace(EMPTY, servers=[pod("s0", "n0")]), 1, 1),
        (replace(EMPTY, servers=[pod("s0", "n0"), pod("s1", "n1", terminating=True)]), 1, 1),
        (replace(EMPTY, survey=Survey(guests=(guest(),), nodes=KNOWN)), 0, 0),
        (replace(EMPTY, survey=Survey(guests=(guest(daemon=True),), nodes=KNOWN)), 0, 1),
        (replace(EMPTY, content_claims=[claim("c2", "content", "n2", deleting=True)]), 0, 0),
        (replace(EMPTY, survey=Survey()), 0, 0),
        (replace(EMPTY, survey=Survey(nodes=KNOWN, complete=False)), None, None),
        (replace(EMPTY, survey=None), None, None),
    ],
)
def test_empty_nodes_have_no_pod_but_those_of_daemons(scene: Scene, servers: int | None, content: int | None) -> None:
    """A node that was not looked at is not called empty."""
    assert (scene.empty(scene.server_claims), scene.empty(scene.content_claims)) == (servers, content)


def test_status_counts_empty_nodes_as_figures_that_may_be_late() -> None:
    """A job that ends is no news."""

    def status(scene: Scene | None) -> ProfileStatus:
        seen, live = settled(scene=scene), {Role.SERVER: GOOD.server_claims, Role.CONTENT: GOOD.content_claims}
        return status_of(replace(seen, claims={pool.name: live[pool.role] for pool in seen.profile.pools}))

    def empty(status: ProfileStatus) -> list[int | None]:
        return [each.empty_nodes for each in status.node_pools]

    busy, idle = status(replace(EMPTY, content=[pod("r0", "n2")])), status(EMPTY)
    assert (empty(busy), empty(idle), empty(status(None))) == ([0, 0], [0, 1], [None, None])
    assert report.only_figures(busy, replace_checks(idle, busy))
    assert not report.same(busy, replace_checks(idle, busy))


def replace_checks(status: ProfileStatus, like: ProfileStatus) -> ProfileStatus:
    """Leave nothing but the figures of pools different."""
    return status.model_copy(update={"checks": like.checks, "conditions": like.conditions})
