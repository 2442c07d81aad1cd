"""What the planner must never decide, whatever it sees: every invariant is checked on each snapshot by chance."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from hypothesis import event, given, settings

from connect_autoscaler.api.names import ANNOTATION_APPROVE, ANNOTATION_PROFILE_UID, LABEL_PROFILE
from connect_autoscaler.api.pools import Role
from connect_autoscaler.api.spec import Mode, Policy, TakeOver
from connect_autoscaler.api.status import Disruption, DriftAction
from connect_autoscaler.core.model import Action, Plan, Snapshot, Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.refusals import CONTESTED
from connect_autoscaler.nodepools.ownership import Ownership, Peer, ownership
from unit.apply import _empty_maps, applied
from unit.builders import NOW
from unit.snapshot_strategies import releases, snapshots

Invariant = Callable[[Snapshot, Plan], None]
ON_POOLS: Final = frozenset(Verb) - {Verb.HOLD, Verb.LET_GO, Verb.DETACH, Verb.PUBLISH, Verb.FORGET}
WRITES: Final = frozenset({Verb.UPGRADE, Verb.RESTORE, Verb.UNLOCK, Verb.SETTLE, Verb.REMEMBER})


def on_pools(decided: Plan) -> Iterator[Action]:
    return (action for action in decided.actions if action.verb in ON_POOLS)


def what_is_not_ours_is_not_written(seen: Snapshot, decided: Plan) -> None:
    me = Peer.of(seen.profile)
    for action in on_pools(decided):
        live = seen.pools.get(action.name)
        if live is None or (whose := ownership(live, me, seen.peers)) is Ownership.OURS:
            continue
        assert whose is Ownership.NOBODYS, action
        assert seen.profile.spec.take_over is not TakeOver.NEVER, action
        assert not seen.profile.deleting, action
        assert action.verb not in {Verb.DELETE, Verb.RELEASE}, action


def what_is_missing_is_created_and_what_is_there_is_not(seen: Snapshot, decided: Plan) -> None:
    for action in on_pools(decided):
        assert (action.verb is Verb.CREATE) is (action.name not in seen.pools)


def external_pools_are_not_written_unless_they_carry_our_mark(seen: Snapshot, decided: Plan) -> None:
    me = Peer.of(seen.profile)
    external = {pool.name for pool in seen.profile.pools if not pool.managed}
    for action in on_pools(decided):
        if action.name in external:
            assert ownership(seen.pools[action.name], me, seen.peers) is Ownership.OURS
            assert action.verb in {Verb.REATTACH, Verb.RELEASE, Verb.DELETE, Verb.UNPROTECT}


def mode_plan_and_suspend_write_nothing_but_the_end_of_a_protection(seen: Snapshot, decided: Plan) -> None:
    if seen.profile.deleting:
        return
    if seen.profile.spec.mode is Mode.PLAN:
        assert decided.actions == ()
    elif seen.profile.spec.suspend:
        protected = {pool.name for pool in seen.profile.pools if pool.spec.deletion_protection}
        freed = {action.target for action in decided.actions if action.verb is Verb.UNPROTECT}
        assert all(action.verb in {Verb.REATTACH, Verb.UNPROTECT} for action in decided.actions)
        assert all(action.target in freed and action.name not in protected for action in decided.actions)


def no_action_comes_twice(_: Snapshot, decided: Plan) -> None:
    actions = [(action.verb, action.target) for action in decided.actions]
    assert len(actions) == len(set(actions))


def a_refused_profile_heals_at_most(seen: Snapshot, decided: Plan) -> None:
    if any(problem.reason in CONTESTED for problem in decided.problems):
        assert list(on_pools(decided)) == []
    if decided.problems and not seen.profile.deleting:
        assert all(action.drift for action in decided.actions if action.verb is Verb.APPLY)
        assert not {action.verb for action in decided.actions} & {Verb.CREATE, Verb.RELEASE, Verb.DELETE}


def an_apply_is_whole_and_guarded(seen: Snapshot, decided: Plan) -> None:
    for action in decided.actions:
        if action.verb in {Verb.APPLY, Verb.CREATE, Verb.RECOVER}:
            assert list(_empty_maps(action.body)) == []
            assert action.body["metadata"]["name"] == action.name
        if action.verb is Verb.CREATE:
            assert action.body["metadata"]["labels"][LABEL_PROFILE] == seen.profile.name
            assert action.body["metadata"]["annotations"][ANNOTATION_PROFILE_UID] == seen.profile.uid
        if action.verb is Verb.APPLY:
            assert action.differences
            assert action.body["metadata"]["uid"] == seen.pools[action.name]["metadata"]["uid"]
            assert all(removal in action.differences for removal in action.removals)


def an_apply_settles_what_it_set_out_to(seen: Snapshot, decided: Plan) -> None:
    applies = {action.name: action for action in decided.actions if action.verb is Verb.APPLY}
    pools = {name: applied(live, applies[name]) if name in applies else live for name, live in seen.pools.items()}
    again = plan(replace(seen, pools=pools), NOW)
    # A healed reference to a NodeClass may end a refusal, which lets more be done.
    if again.problems == decided.problems:
        assert [(a.target, a.fields) for a in again.actions if a.verb is Verb.APPLY and a.name in applies] == []


def findings_and_actions_tell_the_same(seen: Snapshot, decided: Plan) -> None:
    enforced = seen.profile.spec.mode is Mode.ENFORCE and not seen.profile.spec.suspend
    for pool in decided.pools:
        corrected = {f.difference.pointer for f in pool.findings if f.action is DriftAction.CORRECTED}
        left = {f.difference.pointer for f in pool.findings if f.action is not DriftAction.CORRECTED}
        fields = {field for a in pool.actions if a.verb in {Verb.APPLY, Verb.CREATE} and a.drift for field in a.fields}
        assert not left & fields
        if enforced and not decided.problems:
            assert corrected <= fields


def nothing_replaces_nodes_but_through_its_gate(seen: Snapshot, decided: Plan) -> None:
    gate = seen.profile.spec.disruptions
    if seen.profile.deleting:
        return  # whoever deletes a profile with deletionPolicy Delete has asked for exactly that
    for action in decided.actions:
        replaces = action.disruption is Disruption.REPLACES_NODES and action.node_claims > 0
        if replaces and not seen.profile.annotations.get(ANNOTATION_APPROVE):
            assert gate.when == "Immediately"
            assert not gate.windows
            assert not action.drift or seen.corrections_today < gate.max_corrections_per_day


def approval_leaves_nothing_waiting(seen: Snapshot, decided: Plan) -> None:
    assert (decided.digest is None) is (decided.deferred == ())
    if decided.digest is None:
        return
    owner = replace(seen.profile, annotations={ANNOTATION_APPROVE: decided.digest})
    opened = plan(replace(seen, profile=owner), NOW)
    if seen.profile.spec.mode is Mode.PLAN:
        assert opened.actions == ()
    else:
        assert all(action.target.startswith(("Release/", "ConfigMap/")) for action, _ in opened.deferred)
        if not seen.profile.spec.suspend:
            pools = {action.target for action, _ in decided.deferred if not action.target.startswith("Release/")}
            assert pools <= {action.target for action in opened.actions}


def time_wakes_later(_: Snapshot, decided: Plan) -> None:
    assert decided.wake_at is None or decided.wake_at > NOW


def a_deletion_ends_with_the_finalizer(seen: Snapshot, decided: Plan) -> None:
    assert not (decided.finished and decided.actions)
    if seen.profile.deleting and not decided.finished and Verb.LET_GO not in [a.verb for a in decided.actions[-1:]]:
        assert {action.verb for action in decided.actions} <= {Verb.RECOVER, Verb.CREATE}
        assert decided.actions or decided.release, "something is being waited for"
    if not seen.profile.deleting:
        assert Verb.LET_GO not in [action.verb for action in decided.actions]


def references_go_back_before_a_pool_is_let_go(_: Snapshot, decided: Plan) -> None:
    order = [(action.verb, action.target) for action in decided.actions]
    for verb, target in order:
        if verb in {Verb.RELEASE, Verb.UNPROTECT, Verb.DELETE}:
            assert order.index((Verb.REATTACH, target)) < order.index((verb, target))


def a_release_is_written_only_when_everything_allows_it(seen: Snapshot, decided: Plan) -> None:
    view, spec = seen.release, seen.profile.spec
    work = decided.release.work if decided.release else None
    if work is None:
        return
    assert view is not None
    assert view.facts is not None
    assert view.facts.problem is None
    assert view.problem is None
    assert view.export is None
    assert view.work is None
    if work.verb in WRITES:
        assert spec.mode is Mode.ENFORCE
        assert not spec.suspend
    if work.verb not in {Verb.UPGRADE, Verb.RESTORE}:
        return
    assert work.verb is (Verb.RESTORE if seen.profile.deleting else Verb.UPGRADE)
    assert view.entries is not None
    assert not view.entries.last.pending
    assert view.prepared is not None
    assert view.prepared.key == view.key
    assert view.prepared.problem is None
    assert (work.verb, work.target, work.disruption) in [
        (planned.action, planned.target, planned.disruption) for planned in seen.profile.status.plan
    ], "announced"


def a_server_restarts_only_through_its_gate(seen: Snapshot, decided: Plan) -> None:
    work = decided.release.work if decided.release else None
    if seen.release is None or work is None or work.verb not in {Verb.UPGRADE, Verb.RESTORE}:
        return
    if seen.profile.annotations.get(ANNOTATION_APPROVE):
        return
    gate, policy = seen.profile.spec.disruptions, seen.profile.spec.drift_policy.release
    assert not work.drift or policy is Policy.CORRECT
    if work.disruption is not Disruption.NONE:
        assert gate.when == "Immediately" or (gate.when == "WhenIdle" and not seen.release.busy)
        assert not gate.windows
        today = [time for time, _ in seen.release.corrections if NOW - time < timedelta(days=1)]
        assert not work.drift or len(today) < gate.max_corrections_per_day


def servers_move_only_when_their_pool_is_ready(_: Snapshot, decided: Plan) -> None:
    if decided.release and decided.release.work and decided.release.work.verb is Verb.UPGRADE:
        assert not decided.problems
        for pool in decided.pools:
            assert pool.pool.role is not Role.SERVER or (pool.health and pool.health.ready == "True")


def a_release_that_is_refused_says_so(seen: Snapshot, decided: Plan) -> None:
    view = seen.release
    if decided.release is None or view is None or seen.profile.deleting:
        return
    refused = view.problem or (view.facts.problem if view.facts else None)
    if refused:
        assert decided.release.verdict == ("False", refused.reason, refused.message)
        assert not decided.release.deferred
        assert not decided.release.actions


INVARIANTS: tuple[Invariant, ...] = (
    what_is_not_ours_is_not_written,
    what_is_missing_is_created_and_what_is_there_is_not,
    external_pools_are_not_written_unless_they_carry_our_mark,
    mode_plan_and_suspend_write_nothing_but_the_end_of_a_protection,
    no_action_comes_twice,
    a_refused_profile_heals_at_most,
    an_apply_is_whole_and_guarded,
    an_apply_settles_what_it_set_out_to,
    findings_and_actions_tell_the_same,
    nothing_replaces_nodes_but_through_its_gate,
    approval_leaves_nothing_waiting,
    time_wakes_later,
    a_deletion_ends_with_the_finalizer,
    references_go_back_before_a_pool_is_let_go,
    a_release_is_written_only_when_everything_allows_it,
    a_server_restarts_only_through_its_gate,
    servers_move_only_when_their_pool_is_ready,
    a_release_that_is_refused_says_so,
)


@settings(max_examples=120)
@given(snapshots() | releases())
def test_invariants(seen: Snapshot) -> None:
    before = copy.deepcopy((seen.pools, seen.profile))
    decided = plan(seen, NOW)
    for invariant in INVARIANTS:
        invariant(seen, decided)
    assert plan(seen, NOW) == decided, "planning repeats itself"
    assert before == (seen.pools, seen.profile), "and changes nothing"
    for verb in {action.verb for action in decided.actions}:
        event(verb)
    if decided.release:
        event(f"release: {decided.release.work.verb if decided.release.work else decided.release.verdict.reason}")
