"""NodePools of a form that Karpenter's CRD refuses: what another make of it lets through harms nobody."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core import report
from connect_autoscaler.core.model import Outcome, Plan, Snapshot, Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.health import health
from connect_autoscaler.nodepools.shape import shaped
from connect_autoscaler.placement.checks import checks, scale_down_due
from connect_autoscaler.placement.limitations import limitations
from profile_specs import FULL
from reliability.fuzz_inputs import rng, spoiled
from unit.builders import NOW, claim, live_pool, profile, recorded, settled, snapshot
from unit.test_placement import GOOD, IDLE, pool, server_pool

Json = dict[str, Any]
SPEC: Json = {"contentPool": {"weight": 5, "limits": {"cpu": "64"}}}
TEMPLATE = "/spec/template/spec"
OWNER = profile(FULL)
POOLS = [live_pool(OWNER, name) for name in ("servers", "content", "gpu")]
ROLLED_OUT = recorded(snapshot(OWNER, POOLS))
INPUTS = 150


def bent(path: str, value: Any) -> Snapshot:
    """Return a profile of which somebody gave the server pool a field of another form; `...`: none at all."""

    def bend(live: Json) -> Json:
        found = copy.deepcopy(live)
        *above, last = path.strip("/").split("/")
        node = found
        for name in above:
            node = node[name]
        node[last] = value
        if value is ...:
            del node[last]
        return shaped(found)

    return settled(SPEC, bend={"connect-server": bend, "connect-content": bend})


def planned(seen: Snapshot) -> Plan:
    """Plan, and report as if all had been done, and as if nothing had."""
    decided = plan(seen, NOW)
    for outcome in (Outcome(), Outcome(done=decided.actions, pools=seen.pools)):
        json.dumps(report.status(seen, decided, outcome, NOW).dump())
    return decided


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (f"{TEMPLATE}/requirements", "none", f"{TEMPLATE}/requirements["),
        (f"{TEMPLATE}/requirements", {"key": "a"}, f"{TEMPLATE}/requirements["),
        (f"{TEMPLATE}/requirements", [{"key": "a", "operator": "In", "values": "b"}], f"{TEMPLATE}/requirements["),
        (f"{TEMPLATE}/requirements", [{"key": "a"}], f"{TEMPLATE}/requirements["),
        (f"{TEMPLATE}/taints", {"key": "workload"}, f"{TEMPLATE}/taints["),
        (f"{TEMPLATE}/taints", ["workload"], f"{TEMPLATE}/taints["),
        (f"{TEMPLATE}/nodeClassRef", "default", f"{TEMPLATE}/nodeClassRef/"),
        (f"{TEMPLATE}/expireAfter", 720, f"{TEMPLATE}/expireAfter"),
        (f"{TEMPLATE}/expireAfter", {"hours": 720}, f"{TEMPLATE}/expireAfter"),
        (TEMPLATE, [], f"{TEMPLATE}/"),
        ("/spec/template/metadata/labels", ["a"], "/spec/template/metadata/labels/"),
        ("/spec/template/metadata", 5, "/spec/template/metadata/labels/"),
        ("/spec/template", ..., f"{TEMPLATE}/"),
        ("/spec/disruption", ..., "/spec/disruption/"),
        ("/spec/disruption", [], "/spec/disruption/"),
        ("/spec/disruption/budgets", "10%", "/spec/disruption/budgets"),
        ("/spec/disruption/budgets", [{"nodes": "0", "reasons": "Drifted"}], "/spec/disruption/budgets"),
        ("/spec/disruption/consolidateAfter", True, "/spec/disruption/consolidateAfter"),
        ("/spec", "text", "/spec/"),
        ("/spec", ..., "/spec/"),
    ],
)
def test_another_form_is_put_right(path: str, value: Any, pointer: str) -> None:
    decided = planned(bent(path, value))
    assert not decided.problems
    applied = [action for action in decided.actions if action.verb is Verb.APPLY]
    (action,) = (action for action in applied if action.name == "connect-server")
    assert any(field.startswith(pointer) for field in action.fields), action.fields
    assert action.drift


@pytest.mark.parametrize(
    "status",
    [
        5,
        {"conditions": 5},
        {"conditions": ["Ready", {"type": "Ready"}, {"type": [], "status": "True"}]},
        {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": "1"}]},
    ],
)
def test_a_verdict_of_another_form_is_none(status: Any) -> None:
    seen = bent("/status", status)
    planned(seen)
    assert health(seen.pools["connect-server"], NOW).reason is Reason.PROGRESSING


def test_what_nobody_has_looked_at_names_what_it_can() -> None:
    live = shaped({**live_pool(OWNER, "servers"), "spec": {"template": "x"}, "status": None})
    live["metadata"]["annotations"] = {}
    assert health(live, NOW).reason is Reason.NOT_PICKED_UP


def test_a_pool_of_the_usual_form_is_as_it_was() -> None:
    for live in POOLS:
        assert shaped(live) == live


@pytest.mark.parametrize("text", ["9999999999h", "soon", 5, {"hours": 1}, None])
def test_idle_nodes_are_waited_for_as_long_as_a_calendar_holds(text: Any) -> None:
    """`9999999999h` passes the patterns of both definitions, and is a million years."""
    idle = replace(IDLE, content_pools=[pool("content", disruption={"consolidateAfter": text})])
    checks(idle)
    due = scale_down_due(idle)
    assert due is None or due.year > 2100


@pytest.mark.parametrize("text", ["1e1.5", "NaN", None, [], {}])
def test_a_limit_that_is_no_quantity_limits_nothing(text: Any) -> None:
    assert limitations(replace(GOOD, server_pools=[server_pool(limits={"cpu": text})])) == ()


def test_spoiled_pools_and_claims_are_planned_for() -> None:
    """Whatever a map or a list is replaced by, there is a plan and a status; `python -m reliability.fuzz` has more."""
    body = {"metadata": {}, "spec": POOLS[0]["spec"]["template"]["spec"], "status": {}}
    for number in range(INPUTS):
        by = rng(1, "shape", number)
        pools = [shaped(spoiled(live, by)) for live in POOLS]
        born = replace(claim(POOLS[0]), spec=_spec_of(spoiled(body, by)))
        planned(snapshot(OWNER, pools, [born]))
        planned(replace(ROLLED_OUT, pools={live["metadata"]["name"]: live for live in pools}))


def _spec_of(body: Json) -> Any:
    metadata = {"name": "a", "uid": "b", "resourceVersion": "1", "creationTimestamp": "2026-03-01T08:00:00Z"}
    return NodeClaim.of({**body, "metadata": metadata, "status": {}}).spec
