"""What is to be done about the Helm release. Pure: an ordered chain of cases, the first that applies decides.

Order: what is impossible; who else writes; what is under way; what died; what is unproven; what is forbidden now.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from connect_autoscaler.api.conditions import ConditionType, Problem, Reason
from connect_autoscaler.api.names import ANNOTATION_REQUESTED_AT
from connect_autoscaler.api.pools import Role
from connect_autoscaler.api.spec import Mode, Policy
from connect_autoscaler.api.status import ConditionStatus, Disruption, DriftAction
from connect_autoscaler.core import gates
from connect_autoscaler.core.digest import digest
from connect_autoscaler.core.model import Action, Finding, PoolPlan, ReleasePlan, Snapshot, Verb, Verdict
from connect_autoscaler.core.release_model import OWN_REVISIONS, ReleaseView
from connect_autoscaler.core.release_words import listed, phrase, under_way, why_waiting
from connect_autoscaler.nodepools.managers import Author
from connect_autoscaler.release.facts import Facts, guards

_DAY: Final = timedelta(days=1)
_BREATH: Final = timedelta(seconds=10)
"""After the first upgrade that was interrupted; twice as long after each more: it may have restarted the servers."""
_DEEPEST_BREATH: Final = 9
_REVERTS: Final = 2
"""Corrections of the same opponent's changes within a day before giving up: each one restarts the servers."""
_NO_USE_TO_APPROVE: Final = frozenset({Reason.SUSPEND_REQUESTED, Reason.WAITING_FOR_NODE_POOLS})
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
            return _waiting(Reason.WAITING_FOR_ROLLOUT, under_way(view))
        if facts is None:
            reading = Problem(Reason.PROGRESSING, "The release is being read", stalled=False)
            return (self._lock() if view.entries else None) or _stopped(reading)
        # First of all, since what is in the way of the other one may be its holder's own.
        if contested := next((p for p in self.blocked if p.reason is Reason.RELEASE_CLAIMED_TWICE), None):
            return _stopped(contested)
        if facts.problem:
            return _stopped(facts.problem)
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
                f"The release's own values override {listed(view.shadowed)} of the overlay; remove them there, or "
                "merge the published overlay into them"
            )
            decided = _stopped(Problem(Reason.OVERLAY_SHADOWED, message, stalled=False))
        elif lacking:
            message = f"{view.target} lacks {listed(lacking)}, and is not the operator's to write; {view.advice}"
            decided = _stopped(Problem(Reason.OVERLAY_EXPORTED, message, stalled=False))
        elif not view.rolled_out and not view.live:
            decided = _waiting(Reason.WAITING_FOR_ROLLOUT, "The servers are being rolled out")
        else:
            decided = _settled(self._carried(facts))
        if view.exported or not self.wanted or self.blocked:
            return decided
        # What is published already may be in use: its owner restarts the servers as soon as it changes.
        used = view.published
        if self.snapshot.profile.spec.suspend:
            return replace(decided, deferred=((Action(Verb.PUBLISH, target), Reason.SUSPEND_REQUESTED),))
        cost = Disruption.RESTARTS_SERVER if used else Disruption.NONE
        action = Action(Verb.PUBLISH, target, view.export, disruption=cost, digest=digest(view.export["data"]))
        if used and not self.approved and (closed := self._gate(correction=False)):
            return replace(decided, deferred=((action, closed),))
        if used and not self._announced(action):
            return replace(decided, deferred=((action, Reason.ANNOUNCED),))
        return replace(decided, actions=(action,))

    def _compare(self, facts: Facts) -> ReleasePlan:
        view = self.view
        if view.work and view.work.writes:
            return _waiting(Reason.WAITING_FOR_ROLLOUT, under_way(view))
        if view.obstacle and view.obstacle.until > self.now:
            return replace(_stopped(view.obstacle.problem), wake_at=view.obstacle.until)
        if locked := self._lock():
            return locked
        if self._differs(facts):
            return self._differing(facts)
        if facts.ineffective:
            names = listed([change.pointer for change in facts.ineffective])
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
        known = view.applied or not self.wanted or view.work or self.blocked or not self.snapshot.profile.spec.may_write
        return settled if known else replace(settled, work=Action(Verb.REMEMBER, view.target))

    def _lock(self) -> ReleasePlan | None:
        """Somebody holds the release, or we did when we died."""
        view, entries = self.view, self.view.entries
        assert entries is not None  # noqa: S101 - callers have seen to it
        tried = view.attempted
        if tried and not tried.finished and not view.work:
            # The lock is that of the upgrade itself, or of the way back from it: helm's own, or one begun on record.
            ways = OWN_REVISIONS if tried.reason is Reason.CANCELLED else 2 if entries.last.goes_back else 1
            if entries.last.pending and 0 < entries.last.number - tried.base <= ways:
                if tried.orphaned and self.snapshot.profile.spec.may_write:
                    action = Action(Verb.UNLOCK, view.target)
                    what = f"The lock of an interrupted upgrade of {view.target} is being undone"
                    return replace(_waiting(Reason.PENDING_RELEASE, what), work=action)
            elif tried.orphaned and self.snapshot.profile.spec.may_write:
                action = Action(Verb.SETTLE, view.target)
                what = f"An interrupted upgrade of {view.target} is being judged"
                return replace(_waiting(Reason.PROGRESSING, what), work=action)
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

    def _differs(self, facts: Facts) -> bool:
        # What a running pod alone has lost, no upgrade brings back: its template is as it should be.
        mendable = any(not each.target.startswith("Pod/") for each in self.view.live)
        return bool(facts.changes) or (self.view.applied and (mendable or self.view.unfinished))

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
            for each in view.told(self.snapshot.known.drift)
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
            return self._missing(facts, Reason.SUSPEND_REQUESTED)
        if any(each.mutated for each in view.live) and not facts.changes:
            return self._mutated()
        if self.wanted and not (view.taken_over or view.rolled_out):
            what = f"Servers of {view.target} are not rolled out yet; nothing is done to it before"
            return _waiting(Reason.WAITING_FOR_ROLLOUT, what)
        if self.wanted and not self._pools_ready():
            return self._missing(facts, Reason.WAITING_FOR_NODE_POOLS)
        if prepared is None or not self._is_proven():
            begin = None if view.work else Action(Verb.PREPARE, view.target)
            what = f"Proving that the chart renders {view.target} unchanged, before the upgrade is planned"
            return replace(self._keep_promise(_waiting(Reason.PROGRESSING, what), facts), work=begin)
        if prepared.problem:
            # Under Warn nothing is about to be written, so that what would be in the way stops nothing.
            warned = self._is_drift() and self._policy() is not Policy.CORRECT
            stopped = _settled(self._carried(facts)) if warned else _stopped(prepared.problem)
            # It is looked at again now and then, and status says the same until it comes out otherwise.
            over = prepared.until is not None and prepared.until <= self.now and not view.work
            return replace(stopped, wake_at=prepared.until, work=Action(Verb.PREPARE, view.target) if over else None)
        return self._proven(facts)

    def _tried(self) -> ReleasePlan | None:
        """An upgrade that failed is not tried again for the same cause; one that was interrupted is, after a while."""
        tried = self.view.attempted
        if tried is None or not tried.finished or tried.reason is None:
            return None
        if tried.reason is Reason.CANCELLED:
            again_at = tried.started + _BREATH * 2 ** min(tried.interrupted, _DEEPEST_BREATH)
            waiting = _waiting(Reason.CANCELLED, f"{phrase(tried.message)}; it is started again soon")
            return replace(waiting, wake_at=again_at) if self.now < again_at else None
        if tried.cause != self.view.cause:
            return None
        again = f"tried again when release or profile change, or on request (annotation {ANNOTATION_REQUESTED_AT})"
        return _stopped(Problem(tried.reason, f"{phrase(tried.message)}; {again}"))

    def _proven(self, facts: Facts) -> ReleasePlan:
        """What the upgrade would do is known: may it start now?"""
        action = self._action(facts)
        if (closed := self._closed(facts)) and not self.approved:
            return self._missing(facts, closed)
        if self.snapshot.profile.spec.mode is Mode.PLAN:
            return self._missing(facts, Reason.PLAN_MODE)
        if self.view.work:  # it has been announced before
            return _waiting(Reason.PROGRESSING, under_way(self.view))
        if not self._announced(action):
            return self._missing(facts, Reason.ANNOUNCED)
        return replace(_waiting(Reason.WAITING_FOR_ROLLOUT, f"helm upgrades {self.view.target}"), work=action)

    def _mutated(self) -> ReleasePlan:
        names = listed([each.target + each.change.pointer for each in self.view.live if each.mutated])
        return _stopped(
            Problem(
                Reason.MUTATED_BY_ADMISSION,
                f"An admission policy or webhook changes {names} whenever Helm applies it; exempt the object from it",
            )
        )

    def _pools_ready(self) -> bool:
        """Servers that are sent to a pool that is not there would stay pending until the upgrade is rolled back."""
        servers = [pool for pool in self.pools if pool.pool.role is Role.SERVER]
        # Without an External pool its taints are not known, and the overlay would lose their tolerations.
        unknown = any(pool.live is None and not pool.pool.managed for pool in self.pools)
        return (
            not self.blocked
            and not unknown
            and all(pool.health is not None and pool.health.ready is _TRUE for pool in servers)
        )

    def _is_proven(self) -> bool:
        return self.view.prepared is not None and self.view.prepared.key == self.view.key

    def _action(self, facts: Facts) -> Action:
        """The upgrade; one that is not proven yet is taken to restart the servers, as nearly every change does."""
        view = self.view
        live = tuple(replace(each.change, pointer=each.target + each.change.pointer) for each in view.live)
        quiet = view.prepared is not None and self._is_proven() and not view.prepared.restarts
        restarts = not quiet or any(each.target.startswith("Deployment/") for each in view.live)
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
        view, drift = self.view, self._is_drift()
        if drift and self._policy() is not Policy.CORRECT:
            return Reason.POLICY
        today = [(time, by) for time, by in view.corrections if self.now - time < _DAY]
        if drift and sum(by == opponent(view, facts) for _, by in today) >= _REVERTS:
            return Reason.FIGHT_DETECTED
        if self._action(facts).disruption is Disruption.NONE:
            return None
        return self._gate(correction=drift)

    def _gate(self, *, correction: bool) -> Reason | None:
        """Why the servers may not be restarted now."""
        return gates.closed(
            self.snapshot.profile.spec.disruptions,
            correction=correction,
            corrections_today=sum(self.now - time < _DAY for time, _ in self.view.corrections),
            now=self.now,
            busy=Reason.CONTENT_RUNNING if self.view.busy else None,
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

    def _missing(self, facts: Facts, reason: Reason) -> ReleasePlan:
        """Say what waits, and for what."""
        action = self._action(facts)
        if reason in _NO_USE_TO_APPROVE:
            action = replace(action, digest="")  # approval is of what could start, not of what is found out later
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
        text = f"{self.view.target} {how} {listed(pointers)}"
        if waits is None:
            return text
        reason, action = waits
        cost = "; the upgrade restarts the servers" if action.disruption is Disruption.RESTARTS_SERVER else ""
        return f"{text}{cost}. {why_waiting(reason, self.view)}"


def opponent(view: ReleaseView, facts: Facts) -> str:
    """Whose change a correction undoes, in words that stay the same from one time to the next."""
    if facts.changes:
        return "helm rollback" if facts.rollback_to is not None else "helm upgrade"
    undone = view.attempted.corrects if view.attempted and view.unfinished else None
    return view.live[0].author.manager if view.live else undone or "unknown"


def _stopped(problem: Problem) -> ReleasePlan:
    return ReleasePlan(Verdict(_FALSE, problem.reason, problem.message), problem=problem)


def _waiting(reason: Reason, message: str) -> ReleasePlan:
    return ReleasePlan(Verdict(_UNKNOWN, reason, message))


def _settled(verdict: Verdict) -> ReleasePlan:
    return ReleasePlan(verdict)
