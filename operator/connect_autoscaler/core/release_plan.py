"""What is to be done about the Helm release. Pure: an ordered chain of cases, the first that applies decides.

Order: what is impossible; who else writes; what is under way; what died; what is unproven; what is forbidden now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from connect_autoscaler.api.clipping import clip
from connect_autoscaler.api.conditions import ConditionType, Problem, Reason
from connect_autoscaler.api.names import ANNOTATION_REQUESTED_AT
from connect_autoscaler.api.pools import Role
from connect_autoscaler.api.spec import Mode, Policy
from connect_autoscaler.api.status import ConditionStatus, Disruption, DriftAction
from connect_autoscaler.core import gates
from connect_autoscaler.core.digest import digest
from connect_autoscaler.core.model import Action, Finding, PoolPlan, ReleasePlan, Snapshot, Verb, Verdict
from connect_autoscaler.core.release_model import Phase, ReleaseView
from connect_autoscaler.nodepools.managers import Author
from connect_autoscaler.release.facts import Facts, guards

_DAY: Final = timedelta(days=1)
_BREATH: Final = timedelta(seconds=10)
"""Between two upgrades of which the first was interrupted: should something kill helm each time, it is no storm."""
_REVERTS: Final = 2
"""Corrections of the same opponent's changes within a day before giving up: each one restarts the servers."""
_NAMED: Final = 3
"""Fields or pods that a message names; more are only counted."""
_LONG: Final = 200
"""Characters that they may take."""
_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def decide_release(
    snapshot: Snapshot,
    pools: tuple[PoolPlan, ...],
    now: datetime,
    *,
    approved: bool,
    blocked: tuple[Problem, ...] = (),
    wanted: bool = True,
) -> ReleasePlan | None:
    """Decide about the release; None: there is none to care for.

    Args:
        snapshot: What was gathered.
        pools: What was decided about the NodePools; servers cannot move before theirs is Ready.
        now: Time of the pass.
        approved: Whether the user has approved the plan that waits.
        blocked: What keeps the profile from everything.
        wanted: False to give back what was taken over.
    """
    view = snapshot.release
    if view is None:
        return None
    return _Case(snapshot, view, pools, now, blocked, approved=approved, wanted=wanted).decide()


@dataclass(frozen=True)
class _Case:
    snapshot: Snapshot
    view: ReleaseView
    pools: tuple[PoolPlan, ...]
    now: datetime
    blocked: tuple[Problem, ...]
    approved: bool
    wanted: bool

    def decide(self) -> ReleasePlan:
        view, facts = self.view, self.view.facts
        if view.problem:
            return _stopped(view.problem)
        if facts is None and view.work:
            return _waiting(Reason.WAITING_FOR_ROLLOUT, f"helm is at work on {view.target} ({view.work.phase})")
        if facts is None:
            return _stopped(Problem(Reason.PROGRESSING, "The release is being read", stalled=False))
        if facts.problem:
            return _stopped(facts.problem)
        if contested := next((p for p in self.blocked if p.reason is Reason.RELEASE_CLAIMED_TWICE), None):
            return _stopped(contested)
        decided = self._compare(facts) if view.export is None else self._exported(facts)
        return replace(decided, findings=tuple(self._findings(facts, decided)))

    def _exported(self, facts: Facts) -> ReleasePlan:
        """Somebody else writes the release: publish the overlay for him, and look whether it has taken effect."""
        view = self.view
        assert view.export is not None  # noqa: S101 - the caller has seen to it
        meta = view.export["metadata"]
        target = f"ConfigMap/{meta['namespace']}/{meta['name']}"
        lacking = [change.pointer for change in (*facts.changes, *facts.ineffective)]
        if view.shadowed:
            message = (
                f"The release's own values override {_listed(view.shadowed)} of the overlay; remove them there, or "
                "merge the published overlay into them"
            )
            decided = _stopped(Problem(Reason.OVERLAY_SHADOWED, message, stalled=False))
        elif lacking:
            message = f"{view.target} lacks {_listed(lacking)}, and is not the operator's to write; {view.advice}"
            decided = _stopped(Problem(Reason.OVERLAY_EXPORTED, message, stalled=False))
        elif not view.rolled_out and not view.live:
            decided = _waiting(Reason.WAITING_FOR_ROLLOUT, "The servers are being rolled out")
        else:
            decided = _settled(self._carried(facts))
        if view.exported or not self.wanted or self.blocked:
            return decided
        return replace(decided, actions=(Action(Verb.PUBLISH, target, view.export),))

    def _compare(self, facts: Facts) -> ReleasePlan:
        view = self.view
        if view.work and view.work.phase is not Phase.PREPARING:
            return _waiting(Reason.WAITING_FOR_ROLLOUT, f"helm is at work on {view.target} ({view.work.phase})")
        if locked := self._lock():
            return locked
        if self._differs(facts):
            return self._differing(facts)
        if facts.ineffective:
            names = _listed([change.pointer for change in facts.ineffective])
            return _stopped(
                Problem(
                    Reason.OVERLAY_INEFFECTIVE,
                    f"{view.target} has the values {names}, but its rendered objects do not show them: chart "
                    f"{facts.chart} ignores them, or a post-renderer takes them out",
                )
            )
        if not view.rolled_out and not view.live:
            return _waiting(
                Reason.WAITING_FOR_ROLLOUT,
                f"The servers are being rolled out; kubectl get pods -n {view.namespace} shows how far they are",
            )
        settled = _settled(self._carried(facts))
        # The user has put every value there himself: that is remembered, so that a later difference is drift.
        known = view.applied or not self.wanted or view.work or self.blocked or not self._may_write()
        return settled if known else replace(settled, work=Action(Verb.REMEMBER, view.target))

    def _lock(self) -> ReleasePlan | None:
        """Somebody holds the release, or we did when we died."""
        view, entries = self.view, self.view.entries
        assert entries is not None  # noqa: S101 - there are facts
        tried = view.attempted
        if tried and not tried.finished and not view.work:
            if entries.last.pending and entries.last.number == tried.base + 1:
                if tried.orphaned and self._may_write():
                    action = Action(Verb.UNLOCK, view.target)
                    return replace(
                        _waiting(Reason.PENDING_RELEASE, "An interrupted upgrade is being undone"), work=action
                    )
            elif self._may_write():
                action = Action(Verb.SETTLE, view.target)
                return replace(_waiting(Reason.PROGRESSING, "An interrupted upgrade is being judged"), work=action)
        if entries.last.pending:
            return _stopped(
                Problem(
                    Reason.PENDING_RELEASE,
                    f"Revision {entries.last.number} of {view.target} is {entries.last.status}: another Helm "
                    f"operation is at work; if it has died, run: helm rollback -n {view.namespace} {view.name}",
                    stalled=False,
                )
            )
        return None

    def _may_write(self) -> bool:
        spec = self.snapshot.profile.spec
        return spec.mode is Mode.ENFORCE and not spec.suspend

    def _differs(self, facts: Facts) -> bool:
        return bool(facts.changes) or (
            self.view.applied and bool(self.view.live) and self._policy() is not Policy.IGNORE
        )

    def _policy(self) -> Policy:
        return self.snapshot.profile.spec.drift_policy.release

    def _is_drift(self) -> bool:
        """Whether what differs was in place before; else the profile is new, or has changed."""
        if self.view.export is not None:
            # Nothing is remembered of a release that others write, but what status said of it.
            known = self.snapshot.known.condition(ConditionType.RELEASE_CONFIGURED)
            return known is not None and known.status is _TRUE
        return self.wanted and self.view.applied

    def _findings(self, facts: Facts, decided: ReleasePlan) -> list[Finding]:
        """Differences as status tells them: in the values, in live objects, and where the user's value stays."""
        view, found = self.view, []
        what = f"helm revision {facts.revision}"
        if facts.rollback_to is not None:
            what += f" (rollback to {facts.rollback_to})"
        by = Author(what, facts.deployed_at.isoformat() if facts.deployed_at else None)
        action, reason = self._fate(decided)
        if self._is_drift():
            found += [Finding(view.target, change, by, action, reason) for change in facts.changes]
        found += [
            Finding(
                each.target, each.change, each.author, action, Reason.MUTATED_BY_ADMISSION if each.mutated else reason
            )
            for each in view.live
        ]
        found += [Finding(view.target, kept, by, DriftAction.IGNORED, Reason.USER_VALUE) for kept in facts.kept]
        return found

    def _fate(self, decided: ReleasePlan) -> tuple[DriftAction, Reason]:
        """What becomes of a difference, and why it is still there."""
        if self.view.export is not None:
            return DriftAction.REPORTED, Reason.OVERLAY_EXPORTED
        if self._policy() is not Policy.CORRECT:
            return DriftAction.REPORTED, Reason.POLICY
        if self.snapshot.profile.spec.mode is Mode.PLAN:
            return DriftAction.REPORTED, Reason.PLAN_MODE
        if decided.problem:
            return DriftAction.DEFERRED, decided.problem.reason
        return DriftAction.DEFERRED, next((reason for _, reason in decided.deferred), Reason.PROGRESSING)

    def _differing(self, facts: Facts) -> ReleasePlan:
        """The release lacks something, or shows something else: prove, announce, wait for the gate, upgrade."""
        view, prepared = self.view, self.view.prepared
        if stopped := self._tried():
            return stopped
        if self.snapshot.profile.spec.suspend:
            return self._missing(facts, Reason.SUSPEND_REQUESTED, None)
        if any(each.mutated for each in view.live) and not facts.changes:
            return self._mutated()
        if self.wanted and (waiting := self._pools_not_ready()):
            return self._missing(facts, Reason.WAITING_FOR_NODE_POOLS, waiting)
        if prepared is None or prepared.key != view.key or (prepared.until and prepared.until <= self.now):
            begin = None if view.work else Action(Verb.PREPARE, view.target)
            what = f"Proving that the chart renders {view.target} unchanged, before the upgrade is planned"
            return replace(self._keep_promise(_waiting(Reason.PROGRESSING, what), facts), work=begin)
        if prepared.problem:
            return _stopped(prepared.problem)
        return self._proven(facts)

    def _tried(self) -> ReleasePlan | None:
        """An upgrade that failed is not tried again for the same cause; one that was interrupted is, after a while."""
        tried = self.view.attempted
        if tried is None or not tried.finished or tried.reason is None:
            return None
        if tried.reason is Reason.CANCELLED:
            soon = self.now - tried.started < _BREATH
            return _waiting(Reason.CANCELLED, f"{_phrase(tried.message)}; it is started again soon") if soon else None
        if tried.cause != self.view.cause:
            return None
        again = f"tried again when release or profile change, or on request (annotation {ANNOTATION_REQUESTED_AT})"
        return _stopped(Problem(tried.reason, f"{_phrase(tried.message)}; {again}"))

    def _proven(self, facts: Facts) -> ReleasePlan:
        """What the upgrade would do is known: may it start now?"""
        action = self._action(facts)
        if (closed := self._closed(facts)) and not self.approved:
            return self._missing(facts, closed, action)
        if self.snapshot.profile.spec.mode is Mode.PLAN:
            return self._missing(facts, Reason.PLAN_MODE, action)
        if not self._announced(action):
            return self._missing(facts, Reason.ANNOUNCED, action)
        if self.view.work:
            return _waiting(Reason.PROGRESSING, f"helm is at work on {self.view.target}")
        return replace(_waiting(Reason.WAITING_FOR_ROLLOUT, f"helm upgrades {self.view.target}"), work=action)

    def _mutated(self) -> ReleasePlan:
        names = _listed([each.target + each.change.pointer for each in self.view.live if each.mutated])
        return _stopped(
            Problem(
                Reason.MUTATED_BY_ADMISSION,
                f"An admission policy or webhook changes {names} whenever Helm applies it; exempt the object from it",
            )
        )

    def _pools_not_ready(self) -> Action | None:
        """Servers that are sent to a pool that is not there would stay pending until the upgrade is rolled back."""
        servers = [pool for pool in self.pools if pool.pool.role is Role.SERVER]
        ready = not self.blocked and all(pool.health is not None and pool.health.ready is _TRUE for pool in servers)
        changes = self.view.facts.changes if self.view.facts else ()
        return None if ready else Action(Verb.UPGRADE, self.view.target, differences=changes)

    def _action(self, facts: Facts) -> Action:
        view = self.view
        assert view.prepared is not None  # noqa: S101 - the caller has seen to it
        live = tuple(replace(each.change, pointer=each.target + each.change.pointer) for each in view.live)
        restarts = view.prepared.restarts or any(each.target.startswith("Deployment/") for each in view.live)
        return Action(
            Verb.UPGRADE if self.wanted else Verb.RESTORE,
            view.target,
            differences=(*facts.changes, *(() if facts.changes else live)),
            drift=self._is_drift(),
            disruption=Disruption.RESTARTS_SERVER if restarts else Disruption.NONE,
            digest=digest([facts.revision, facts.wanted]),
        )

    def _closed(self, facts: Facts) -> Reason | None:
        """Why an upgrade may not start now, approval aside."""
        spec, view = self.snapshot.profile.spec, self.view
        drift = self._is_drift()
        if drift and self._policy() is not Policy.CORRECT:
            return Reason.POLICY
        today = [(time, by) for time, by in view.corrections if self.now - time < _DAY]
        if drift and sum(by == opponent(view, facts) for _, by in today) >= _REVERTS:
            return Reason.FIGHT_DETECTED
        if view.prepared is None or view.prepared.key != view.key or self._action(facts).disruption is Disruption.NONE:
            return None
        return gates.closed(
            spec.disruptions,
            correction=drift,
            corrections_today=len(today),
            now=self.now,
            busy=Reason.CONTENT_RUNNING if view.busy else None,
        )

    def _announced(self, action: Action) -> bool:
        """Whether the plan stands in the status that the API server has."""
        fields = list(action.fields)
        return any(
            planned.action == action.verb
            and planned.target == action.target
            and planned.disruption == action.disruption
            and list(planned.fields) == fields[: len(planned.fields)]
            for planned in self.snapshot.profile.status.plan
        )

    def _missing(self, facts: Facts, reason: Reason, action: Action | None) -> ReleasePlan:
        """Say what waits, and for what."""
        if action is None:
            action = Action(Verb.UPGRADE, self.view.target, differences=facts.changes)
        told = self._carried(facts, waits=(reason, action))
        return replace(_settled(told), deferred=((action, reason),))

    def _keep_promise(self, waiting: ReleasePlan, facts: Facts) -> ReleasePlan:
        """A drift that breaks no promise does not make a release unconfigured while it is looked into."""
        return _settled(self._carried(facts)) if self._is_drift() else waiting

    def _carried(self, facts: Facts, waits: tuple[Reason, Action] | None = None) -> Verdict:
        """Whether the release does what the profile needs of it."""
        view = self.view
        lacking = [change.pointer for change in facts.changes]
        if lacking and not self._is_drift():
            return Verdict(_FALSE, Reason.OVERLAY_MISSING, self._say("lacks", lacking, waits))
        if broken := [pointer for pointer in lacking if guards(pointer)]:
            return Verdict(_FALSE, Reason.OVERLAY_MISSING, self._say("lacks", broken, waits))
        if broken := [each.target + each.change.pointer for each in view.live if each.guards]:
            return Verdict(_FALSE, Reason.GUARANTEE_BROKEN, self._say("differs in", broken, waits))
        more = "; other values differ, see status.drift.items" if lacking or view.live else ""
        what = f"Revision {facts.revision} carries" if facts.revision else "The servers carry"
        return Verdict(_TRUE, Reason.OVERLAY_APPLIED, f"{what} the overlay{more}")

    def _say(self, how: str, pointers: list[str], waits: tuple[Reason, Action] | None) -> str:
        text = f"{self.view.target} {how} {_listed(pointers)}"
        if waits is None:
            return text
        reason, action = waits
        cost = "; the upgrade restarts the servers" if action.disruption is Disruption.RESTARTS_SERVER else ""
        return f"{text}{cost}. {why_waiting(reason, self.view)}"


def why_waiting(reason: Reason, view: ReleaseView) -> str:
    """What an upgrade waits for, in one sentence."""
    match reason:
        case Reason.CONTENT_RUNNING:
            return f"Waits until content ends that it would orphan ({_listed(view.busy)}), or for approval."
        case Reason.AWAITING_APPROVAL:
            return "Waits for approval."
    return reason.explain


def opponent(view: ReleaseView, facts: Facts) -> str:
    """Whose change a correction undoes, in words that stay the same from one time to the next."""
    if facts.changes:
        return "helm rollback" if facts.rollback_to is not None else "helm upgrade"
    return view.live[0].author.manager if view.live else "unknown"


def _listed(names: Sequence[str]) -> str:
    """The first of many; all of them are in ``status.plan`` or ``status.drift``."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return clip(", ".join(names[:_NAMED]), _LONG) + more


def _phrase(message: str) -> str:
    """A message to which something is added."""
    return message.rstrip(". ")


def _stopped(problem: Problem) -> ReleasePlan:
    return ReleasePlan(Verdict(_FALSE, problem.reason, problem.message), problem=problem)


def _waiting(reason: Reason, message: str) -> ReleasePlan:
    return ReleasePlan(Verdict(_UNKNOWN, reason, message))


def _settled(verdict: Verdict) -> ReleasePlan:
    return ReleasePlan(verdict)
