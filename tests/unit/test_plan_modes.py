"""Mode Plan writes nothing and shows everything; suspension writes nothing but the end of a protection."""

from datetime import timedelta

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.model import Verb
from connect_autoscaler.core.plan import plan
from unit.builders import (
    NOW,
    claim,
    gone,
    profile,
    settled,
    snapshot,
    terminating,
)
from unit.planning import (
    CONTENT,
    CONTENT_POOL,
    EXPIRY,
    SERVER,
    SERVER_POOL,
    UNPROTECTED,
    WEIGHT,
    approved,
    born_elsewhere,
    done,
    waiting,
)


def test_mode_plan_writes_nothing_and_shows_everything() -> None:
    spec = {"mode": "Plan"}
    decided = plan(snapshot(profile(spec, finalizers=())), NOW)
    assert decided.actions == ()
    assert [(verb, target, reason) for verb, target, reason, _ in waiting(decided)] == [
        (Verb.CREATE, SERVER_POOL, Reason.PLAN_MODE),
        (Verb.CREATE, CONTENT_POOL, Reason.PLAN_MODE),
    ]
    drifted = settled(spec, bend={SERVER: WEIGHT, CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT))
    decided = plan(drifted, NOW)
    assert decided.actions == ()
    assert [(target, reason) for _, target, reason, _ in waiting(decided)] == [
        (SERVER_POOL, Reason.PLAN_MODE),
        (CONTENT_POOL, Reason.NODES_IN_USE),
    ]
    assert decided.digest == plan(drifted, NOW + timedelta(hours=5)).digest is not None


def test_approval_does_not_open_mode_plan() -> None:
    seen = settled({"mode": "Plan"}, bend={CONTENT: EXPIRY}, claims=born_elsewhere(CONTENT))
    assert plan(approved(seen, plan(seen, NOW).digest), NOW).actions == ()


def test_a_converged_plan_is_empty() -> None:
    decided = plan(settled({"mode": "Plan"}), NOW)
    assert (decided.actions, decided.deferred, decided.digest) == ((), (), None)


def test_a_suspended_profile_writes_nothing() -> None:
    for seen in (
        snapshot(profile({"suspend": True}, finalizers=())),
        settled({"suspend": True}, bend={SERVER: WEIGHT, CONTENT: gone}, finalizers=()),
        settled({"suspend": True}, bend={SERVER: terminating}),
        settled({"suspend": True}, claims=lambda pools: [claim(pools[SERVER])]),
    ):
        assert plan(seen, NOW).actions == ()


def test_a_suspended_profile_still_ends_a_protection() -> None:
    spec = {"suspend": True, **UNPROTECTED}
    expected = [(Verb.REATTACH, SERVER_POOL), (Verb.UNPROTECT, SERVER_POOL)]
    assert done(plan(settled(spec, written={}), NOW)) == expected
    assert done(plan(settled(spec, written={}, bend={SERVER: terminating}), NOW)) == expected


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_a_suspended_profile_leaves_pools_that_it_no_longer_names(policy: str) -> None:
    more = {"additionalContentPools": [{"name": "gpu", "deletionProtection": True}]}
    spec = {"suspend": True, "deletionPolicy": {"nodePools": policy}}
    assert plan(settled(spec, written=more), NOW).actions == ()
