"""Changes of the template that would replace nodes, their gates, and approval."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.status import Disruption, DriftAction
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.model import Outcome, Snapshot, Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.nodepools.claims import NodeClaim
from unit.apply import applied
from unit.builders import (
    NOW,
    Json,
    claim,
    settled,
)
from unit.planning import (
    CONTENT,
    CONTENT_POOL,
    EXPIRY,
    LABEL,
    OPEN,
    SERVER,
    SERVER_POOL,
    SHUT,
    WEIGHT,
    approved,
    born_elsewhere,
    born_here,
    done,
    fight,
    findings,
    of,
    only,
    patch,
    waiting,
)
from unit.reporting import said, status_of


def test_a_fresh_bad_edit_of_the_template_heals_at_once() -> None:
    for name in (SERVER, CONTENT):
        decided = plan(settled(bend={name: EXPIRY}, claims=born_here(name)), NOW)
        action = only(decided)
        assert (action.verb, action.fields) == (Verb.APPLY, ("/spec/template/spec/expireAfter",))
        assert (action.disruption, action.node_claims) == (Disruption.NONE, 0)


def test_the_server_pool_heals_at_once_and_says_that_nodes_become_outdated() -> None:
    decided = plan(settled(bend={SERVER: EXPIRY}, claims=born_elsewhere(SERVER)), NOW)
    action = only(decided)
    assert (action.disruption, action.node_claims) == (Disruption.OUTDATES_NODES, 2)
    assert of(decided).outdated == 2
    assert of(decided).findings[0].node_claims == 2


def test_the_content_pool_waits_for_its_gate() -> None:
    seen = settled(bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT))
    decided = plan(seen, NOW)
    field = "/spec/template/spec/expireAfter"
    assert done(decided) == []
    assert waiting(decided) == [(Verb.APPLY, CONTENT_POOL, Reason.NODES_IN_USE, (field,))]
    assert findings(decided, CONTENT) == [(field, DriftAction.DEFERRED, Reason.NODES_IN_USE, "kubectl-edit")]
    action, _ = decided.deferred[0]
    assert (action.disruption, action.node_claims, action.drift) == (Disruption.REPLACES_NODES, 2, True)
    assert decided.digest


def test_what_is_behavioural_does_not_wait_for_the_template() -> None:
    bends = patch({"weight": 7, "template": {"spec": {"expireAfter": "24h"}}})
    seen = settled(bend={CONTENT: bends}, claims=born_elsewhere(CONTENT))
    decided = plan(seen, NOW)
    assert only(decided).fields == ("/spec/weight",)
    assert only(decided).disruption is Disruption.NONE
    after = applied(seen.pools[CONTENT], only(decided))
    assert after["spec"]["template"]["spec"]["expireAfter"] == "24h"
    assert [fields for _, _, _, fields in waiting(decided)] == [("/spec/template/spec/expireAfter",)]


def test_a_change_of_the_profile_passes_the_same_gate() -> None:
    spec = {"contentPool": {"expireAfter": "100h", "weight": 3}}
    decided = plan(settled(spec, written={}, claims=born_here(CONTENT)), NOW)
    assert only(decided).fields == ("/spec/weight",)
    assert [(target, reason) for _, target, reason, _ in waiting(decided)] == [(CONTENT_POOL, Reason.NODES_IN_USE)]
    assert not decided.deferred[0][0].drift


def test_nodes_that_are_going_anyway_hold_nothing_up() -> None:
    def leaving(pools: Mapping[str, Json]) -> Iterable[NodeClaim]:
        return [claim(EXPIRY(pools[CONTENT]), deleting=True)]

    decided = plan(settled(bend={CONTENT: EXPIRY}, claims=leaving), NOW)
    assert only(decided).disruption is Disruption.NONE


def test_a_budget_of_zero_for_drifted_nodes_makes_a_content_pool_safe_to_heal() -> None:
    spec = {"contentPool": {"disruption": {"budgets": [{"nodes": "0", "reasons": ["Drifted"]}]}}}
    decided = plan(settled(spec, bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT)), NOW)
    assert only(decided).disruption is Disruption.OUTDATES_NODES


@pytest.mark.parametrize("budget", [{"nodes": "0", "schedule": "@daily", "duration": "1h"}, {"nodes": "1"}])
def test_other_budgets_do_not(budget: Json) -> None:
    spec = {"contentPool": {"disruption": {"budgets": [budget]}}}
    decided = plan(settled(spec, bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT)), NOW)
    assert done(decided) == []


@pytest.mark.parametrize(
    ("disruptions", "corrections", "reason"),
    [
        ({"when": "WhenIdle"}, 0, Reason.NODES_IN_USE),
        ({"when": "OnApproval"}, 0, Reason.AWAITING_APPROVAL),
        ({"when": "Immediately"}, 0, Reason.ANNOUNCED),
        ({"when": "Immediately"}, 2, Reason.DAILY_LIMIT),
        ({"when": "Immediately", "windows": [OPEN]}, 0, Reason.ANNOUNCED),
        ({"when": "Immediately", "windows": [SHUT]}, 0, Reason.OUTSIDE_WINDOW),
    ],
)
def test_gates(disruptions: Json, corrections: int, reason: Reason) -> None:
    seen = settled(
        {"disruptions": disruptions},
        bend={CONTENT: EXPIRY},
        claims=born_elsewhere(CONTENT),
        corrections_today=corrections,
    )
    decided = plan(seen, NOW)
    assert [reason for _, _, reason, _ in waiting(decided)] == [reason]
    assert done(decided) == []
    wake = NOW.replace(day=3, hour=3) if reason is Reason.OUTSIDE_WINDOW else None
    assert decided.wake_at == wake


def after_its_status(seen: Snapshot) -> Snapshot:
    """Return what the next pass sees when this one has written its status."""
    return replace(seen, profile=replace(seen.profile, status=status_of(seen, Outcome())))


def test_what_replaces_nodes_is_done_once_its_plan_can_be_read() -> None:
    now = {"disruptions": {"when": "Immediately"}}
    seen = settled(now, bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT))
    told = after_its_status(seen)
    assert [action.disruption for action in told.profile.status.plan] == [Disruption.REPLACES_NODES]
    decided = plan(told, NOW)
    assert done(decided) == [(Verb.APPLY, CONTENT_POOL)]
    assert decided.deferred == ()
    other = replace(told, pools={**told.pools, CONTENT: LABEL(told.pools[CONTENT])})
    assert [reason for _, _, reason, _ in waiting(plan(other, NOW))] == [Reason.ANNOUNCED], "of that nobody was told"
    changed = replace(told, profile=replace(told.profile, generation=told.profile.generation + 1))
    assert [reason for _, _, reason, _ in waiting(plan(changed, NOW))] == [Reason.ANNOUNCED]


def test_what_was_announced_and_failed_stays_announced() -> None:
    seen = after_its_status(
        settled({"disruptions": {"when": "Immediately"}}, bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT))
    )
    error = KubeError(503, Reason.API_UNAVAILABLE, "no answer", Retry.SOON)
    failed = Outcome(failed=((only(plan(seen, NOW)), error),))
    (planned,) = status_of(seen, failed).plan
    assert (planned.target, planned.reason) == (CONTENT_POOL, Reason.ANNOUNCED)


@pytest.mark.parametrize("resting", [{"mode": "Plan"}, {"suspend": True}])
def test_what_is_not_done_anyway_needs_no_announcement(resting: Json) -> None:
    spec = {"disruptions": {"when": "Immediately"}, **resting}
    seen = settled(spec, bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT))
    for state in (seen, after_its_status(seen)):
        decided = plan(state, NOW)
        assert done(decided) == []
        assert Reason.ANNOUNCED not in [reason for _, _, reason, _ in waiting(decided)]


def test_a_faulty_window_refuses_the_profile_and_holds_the_gate_shut() -> None:
    windows = [{**OPEN, "timeZone": "Mars/Olympus"}]
    decided = plan(
        settled(
            {"disruptions": {"when": "Immediately", "windows": windows}},
            bend={CONTENT: EXPIRY, SERVER: WEIGHT},
            claims=born_elsewhere(CONTENT),
        ),
        NOW,
    )
    assert [problem.reason for problem in decided.problems] == [Reason.INVALID]
    assert done(decided) == [(Verb.APPLY, SERVER_POOL)], "what costs nothing is healed"
    assert [reason for _, _, reason, _ in waiting(decided)] == [Reason.OUTSIDE_WINDOW]


@pytest.mark.parametrize("when", ["WhenIdle", "OnApproval", "Immediately"])
def test_approval_opens_every_gate(when: str) -> None:
    seen = settled(
        {"disruptions": {"when": when, "windows": [SHUT], "maxCorrectionsPerDay": 0}},
        bend={CONTENT: EXPIRY},
        claims=born_elsewhere(CONTENT),
    )
    digest = plan(seen, NOW).digest
    decided = plan(approved(seen, digest), NOW)
    assert digest is not None
    assert done(decided) == [(Verb.APPLY, CONTENT_POOL)]
    assert decided.deferred == ()
    assert decided.digest is None
    assert only(decided).disruption is Disruption.REPLACES_NODES


def test_approval_opens_exactly_the_plan_it_names() -> None:
    seen = settled(bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT))
    digest = plan(seen, NOW).digest
    for other in (
        settled(bend={CONTENT: LABEL}, claims=born_elsewhere(CONTENT, LABEL)),
        settled({"contentPool": {"expireAfter": "9h"}}, bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT)),
    ):
        assert plan(other, NOW).digest not in (None, digest)
        assert done(plan(approved(other, digest), NOW)) == []
    for wrong in (None, "", "sha256:0", f"{digest} "):
        assert done(plan(approved(seen, wrong), NOW)) == []


def test_the_digest_of_a_plan_lasts() -> None:
    seen = settled(bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT, count=1))
    digest = plan(seen, NOW).digest
    assert plan(seen, NOW + timedelta(days=3)).digest == digest
    more = settled(bend={CONTENT: EXPIRY, SERVER: WEIGHT}, claims=born_elsewhere(CONTENT, count=3))
    assert plan(more, NOW).digest == digest, "neither the number of nodes nor what is healed at once is part of it"


def test_approval_does_not_open_a_fight() -> None:
    pointer = "/spec/template/spec/expireAfter"
    seen = settled(bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT), fights=[fight(pointer, CONTENT_POOL)])
    assert plan(seen, NOW).digest is None
    assert done(plan(approved(seen, None), NOW)) == []


def test_what_is_about_to_be_done_is_not_called_done() -> None:
    """Else `kubectl wait --for=condition=Ready` would return between the announcement and the deed."""
    spec = {"disruptions": {"when": "Immediately"}, "contentPool": {"expireAfter": "100h"}}
    seen = settled(spec, written={"disruptions": {"when": "Immediately"}}, claims=born_here(CONTENT))
    assert said(status_of(seen, Outcome()))["Ready"] == ("Unknown", "Progressing")
