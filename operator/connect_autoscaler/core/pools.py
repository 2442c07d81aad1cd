"""Decisions about one pool: create, put right, hold back, protect."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.names import FINALIZER_PROTECT, LABEL_CAPACITY_TYPE
from connect_autoscaler.api.pools import Role
from connect_autoscaler.api.profile import Pool
from connect_autoscaler.api.spec import IgnoreRule, Mode, Policy, TargetKind
from connect_autoscaler.api.status import PLANNED_FIELDS, ConditionStatus, Disruption, DriftAction
from connect_autoscaler.core import gates
from connect_autoscaler.core.digest import pool_digest, template_half
from connect_autoscaler.core.model import Action, Finding, Json, PoolPlan, Snapshot, Verb
from connect_autoscaler.core.refusals import CONTESTED
from connect_autoscaler.nodepools import managers
from connect_autoscaler.nodepools.budgets import always_zero
from connect_autoscaler.nodepools.claims import outdated
from connect_autoscaler.nodepools.compare import BUDGETS, Difference, differences, sooner
from connect_autoscaler.nodepools.health import Health, health
from connect_autoscaler.nodepools.ownership import Ownership, Peer, ownership
from connect_autoscaler.nodepools.paths import TEMPLATE, Element, Path, get, transplant
from connect_autoscaler.nodepools.render import render

GONE: Final[Path] = ("",)
"""Path of a pool that is missing as a whole; its pointer is ``/``."""
OWNER_REFERENCES: Final = "/metadata/ownerReferences"


def decide(
    snapshot: Snapshot, pool: Pool, problems: tuple[Problem, ...], now: datetime, *, approved: bool = False
) -> PoolPlan:
    """Decide about one pool.

    Args:
        snapshot: What was gathered.
        pool: One of the profile's pools.
        problems: Refusals of the profile; with any of them only drift is put right.
        now: Time of the pass.
        approved: Whether the user approved the plan that status shows, which opens every gate.
    """
    live = snapshot.pools.get(pool.name)
    if snapshot.karpenter is None:
        return PoolPlan(pool, live, None)
    wanted = render(snapshot.profile, pool, snapshot.karpenter)
    claims = tuple(c for c in snapshot.claims.get(pool.name, ()) if not c.deleting)
    decided = PoolPlan(
        pool,
        live,
        wanted,
        digest=pool_digest(wanted),
        health=health(live, now) if live else None,
        outdated=sum(outdated(claim, wanted, live) for claim in claims),
    )
    if not pool.managed:
        return _inspect(replace(decided, compared=True), snapshot.profile.spec.drift_policy.ignore)
    if any(problem.reason in CONTESTED for problem in problems):
        return decided
    case = _Case(snapshot, replace(decided, compared=True), now, blocked=bool(problems), approved=approved)
    if live is None:
        return case.absent()
    if ownership(live, Peer.of(snapshot.profile), snapshot.peers) is not Ownership.OURS and problems:
        return decided
    if "deletionTimestamp" in live["metadata"]:
        return case.terminating()
    return case.present()


class _Case:
    """One pool in one pass; the branches of `decide`."""

    def __init__(self, snapshot: Snapshot, decided: PoolPlan, now: datetime, *, blocked: bool, approved: bool) -> None:
        self.snapshot, self.decided, self.now = snapshot, decided, now
        self.blocked, self.approved = blocked, approved
        self.pool, self.wanted = decided.pool, decided.wanted or {}
        self.target = f"NodePool/{decided.pool.name}"
        self.policy = snapshot.profile.spec.drift_policy.node_pools
        recorded = next((p.spec_hash for p in snapshot.known.node_pools if p.name == decided.pool.name), None)
        self.recorded = recorded or ""
        self.existed = recorded is not None
        self.in_force: Mapping[str, Any] = self.wanted
        """The pool whose budgets count while the template is put right."""

    def absent(self) -> PoolPlan:
        """Create it, unless that is somebody else's decision."""
        findings: tuple[Finding, ...] = ()
        missing = Difference(GONE, "present", None)
        create = Action(
            Verb.CREATE,
            self.target,
            self.wanted,
            digest=self.decided.digest,
            drift=self.existed,
            differences=(missing,),
        )
        deferred_by = None
        if self.existed:
            held, deferred_by = self._verdict(missing)
            if deferred_by is Reason.POLICY and self.pool.spec.deletion_protection:
                # Protection against deletion is not a matter of the drift policy.
                held, deferred_by = DriftAction.CORRECTED, None
            findings = (Finding(self.target, missing, managers.UNKNOWN, held, deferred_by),)
        do = not self.blocked and deferred_by is None
        return replace(
            self.decided,
            actions=(create,) if do else (),
            findings=findings if self.policy is not Policy.IGNORE else (),
            broken=("/",) if self.existed and not do else (),
            problem=None
            if do or self.blocked
            else Problem(Reason.POOL_MISSING, f"NodePool {self.pool.name} does not exist", stalled=False),
        )

    def terminating(self) -> PoolPlan:
        """A protected pool is saved, whatever the policy; another one has to go before it can come back."""
        live = self.decided.live or {}
        name = self.pool.name
        if FINALIZER_PROTECT not in live["metadata"].get("finalizers", ()):
            return replace(
                self.decided,
                health=Health(ConditionStatus.FALSE, Reason.NOT_READY, f"NodePool {name} is being deleted"),
            )
        if not self.pool.spec.deletion_protection:
            return replace(self.decided, actions=self._unprotect(live))
        recover = Action(Verb.RECOVER, self.target, self.wanted, dict(live), digest=self.decided.digest)
        spec = self.snapshot.profile.spec
        if spec.suspend or spec.mode is Mode.PLAN:
            held = Reason.PLAN_MODE if spec.mode is Mode.PLAN else Reason.SUSPEND_REQUESTED
            message = (
                f"NodePool {name} was deleted and is not recovered now; it stays terminating, which spares its nodes"
            )
            verdict = Health(ConditionStatus.FALSE, held, message)
        else:
            message = f"NodePool {name} was deleted and is being recovered"
            verdict = Health(ConditionStatus.UNKNOWN, Reason.PROGRESSING, message, current=False)
        return replace(self.decided, actions=(recover,), health=verdict)

    def present(self) -> PoolPlan:
        """Put right what differs and may be put right now; hold the rest; guard the NodeClaims."""
        live = self.decided.live or {}
        verdicts = []
        for difference in differences(self.wanted, live):  # sorted: /spec/disruption comes before /spec/template
            action, reason = self._verdict(difference)
            if difference.path == BUDGETS and action is not DriftAction.CORRECTED:
                self.in_force = live
            verdicts.append((difference, action, reason))
        todo = tuple(d for d, action, _ in verdicts if action is DriftAction.CORRECTED)
        kept = tuple(d for d, action, _ in verdicts if action is not DriftAction.CORRECTED)
        gated = tuple(d for d, _, reason in verdicts if reason in _GATES)
        actions = list(self._guard(live))
        if todo:
            body = deepcopy(self.wanted)
            for difference in kept:
                if not _granular(difference):
                    transplant(body, live, difference.path)
            actions.append(self._apply(body, todo, live))
        gate = next((reason for _, _, reason in verdicts if reason in _GATES), None)
        return replace(
            self.decided,
            actions=tuple(actions),
            deferred=((self._apply(self.wanted, gated, live), gate),) if gate else (),
            in_sync=all(action is DriftAction.IGNORED for _, action, _ in verdicts),
            findings=tuple(self._findings(verdicts, live)),
            broken=tuple(
                d.pointer
                for d, action, _ in verdicts
                if action in _OPEN and not self._changed(d) and breaks_promise(self.pool, d)
            ),
        )

    def _changed(self, difference: Difference) -> bool:
        """Whether the profile asks for something else than it was last brought to; else somebody else did this.

        Template and the rest are told apart, since a change of the template may wait for days.
        """
        mine, recorded = self.decided.digest, self.recorded
        if difference.in_template:
            return template_half(mine) != template_half(recorded)
        return mine.removesuffix(template_half(mine)) != recorded.removesuffix(template_half(recorded))

    def _verdict(self, difference: Difference) -> tuple[DriftAction, Reason | None]:
        """What becomes of a difference, by ignore rules, policy, fights and gates, in this order."""
        spec = self.snapshot.profile.spec
        live = self.decided.live
        who = managers.culprit(live, difference.path, difference.actual) if live else managers.UNKNOWN
        if _ignored(spec.drift_policy.ignore, self.pool.name, difference, who.manager):
            return DriftAction.IGNORED, Reason.IGNORED
        changed = difference.path != GONE and self._changed(difference)
        if changed and self.blocked:
            return DriftAction.DEFERRED, None
        if not changed and self.policy is not Policy.CORRECT:
            return DriftAction.REPORTED, Reason.POLICY
        if any(
            fight.slowed_until and fight.target == self.target and fight.pointer in ("", difference.pointer)
            for fight in self.snapshot.fights
        ):
            return DriftAction.DEFERRED, Reason.FIGHT_DETECTED
        if difference.in_template and self._disruption() is Disruption.REPLACES_NODES and not self.approved:
            closed = gates.closed(
                spec.disruptions,
                correction=not changed,
                corrections_today=self.snapshot.corrections_today,
                now=self.now,
            )
            if closed:
                return DriftAction.DEFERRED, closed
            if not self._announced(difference):
                return DriftAction.DEFERRED, Reason.ANNOUNCED
        return DriftAction.CORRECTED, None

    def _announced(self, difference: Difference) -> bool:
        """Whether the status that everybody can read has shown that this change replaces nodes, or nothing is done."""
        profile = self.snapshot.profile
        if not profile.spec.may_write:
            return True
        shown = [
            field
            for action in profile.status.plan
            if action.target == self.target and action.disruption is Disruption.REPLACES_NODES
            for field in action.fields
        ]
        current = profile.status.observed_generation == profile.generation
        return current and (difference.pointer in shown or len(shown) >= PLANNED_FIELDS)

    def _disruption(self) -> Disruption:
        """What a change of the template means for the nodes at hand."""
        if not self.decided.outdated:
            return Disruption.NONE
        return (
            Disruption.OUTDATES_NODES
            if always_zero(get(self.in_force, BUDGETS), "Drifted")
            else Disruption.REPLACES_NODES
        )

    def _apply(self, body: Json, todo: tuple[Difference, ...], live: Mapping[str, Any]) -> Action:
        template = any(difference.in_template for difference in todo)
        return Action(
            Verb.APPLY,
            self.target,
            {**body, "metadata": {**body["metadata"], "uid": live["metadata"]["uid"]}},
            dict(live),
            removals=tuple(d for d in todo if _granular(d) or _whole_list(d, body)),
            differences=todo,
            drift=not all(map(self._changed, todo)),
            disruption=self._disruption() if template else Disruption.NONE,
            node_claims=self.decided.outdated if template else 0,
            digest=self.decided.digest,
        )

    def _findings(
        self, verdicts: Iterable[tuple[Difference, DriftAction, Reason | None]], live: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Differences that somebody made; what a change of the profile asks for is no drift."""
        if self.policy is Policy.IGNORE:
            return
        for difference, action, reason in verdicts:
            if self._changed(difference):
                continue
            who = managers.culprit(live, difference.path, difference.actual)
            count = self.decided.outdated if difference.in_template else 0
            yield Finding(self.target, difference, who, action, reason, count)

    def _guard(self, live: Mapping[str, Any]) -> Iterator[Action]:
        """Keep the NodeClaims of a protected pool out of every cascade; give them back when protection ends."""
        if not self.pool.spec.deletion_protection:
            if FINALIZER_PROTECT in live["metadata"].get("finalizers", ()):
                yield from self._unprotect(live)
            return
        slowed = {f.target for f in self.snapshot.fights if f.slowed_until and f.pointer == OWNER_REFERENCES}
        for claim in self.snapshot.claims.get(self.pool.name, ()):
            target = f"NodeClaim/{claim.name}"
            if claim.registered and claim.owners and not claim.deleting and target not in slowed:
                yield Action(Verb.DETACH, target, claim=claim)

    def _unprotect(self, live: Mapping[str, Any]) -> tuple[Action, ...]:
        seen = dict(live)
        return Action(Verb.REATTACH, self.target, live=seen), Action(Verb.UNPROTECT, self.target, live=seen)


_OPEN: Final = frozenset({DriftAction.DEFERRED, DriftAction.REPORTED})
_GATES: Final = frozenset(
    {
        Reason.AWAITING_APPROVAL,
        Reason.NODES_IN_USE,
        Reason.OUTSIDE_WINDOW,
        Reason.DAILY_LIMIT,
        Reason.ANNOUNCED,
    }
)


def breaks_promise(pool: Pool, difference: Difference) -> bool:
    """Whether a difference leaves the Connect server unprotected, or its content without a place."""
    key, _ = pool.label
    path = difference.path
    if path in {GONE, (*TEMPLATE, "metadata", "labels", key)}:
        return True
    if pool.role is not Role.SERVER:
        return False
    match path:
        case ("spec", "disruption", "budgets"):
            return not all(always_zero(difference.actual, reason) for reason in ("Underutilized", "Drifted"))
        case ("spec", "disruption", "consolidateAfter") | ("spec", "template", "spec", "expireAfter"):
            return sooner(difference.actual, difference.expected)
        case ("spec", "disruption", "consolidationPolicy") | ("spec", "template", "spec", "terminationGracePeriod"):
            return True
        case ("spec", "template", "spec", "taints", Element() as element):
            return ("key", key) in element.key
        case ("spec", "template", "spec", "requirements", Element() as element):
            return ("key", LABEL_CAPACITY_TYPE) in element.key
    return False


def _inspect(decided: PoolPlan, ignore: Iterable[IgnoreRule]) -> PoolPlan:
    """Check an External pool against the promise only: the rest of it is its owner's business."""
    pool, live, wanted = decided.pool, decided.live, decided.wanted or {}
    if live is None:
        missing = Problem(
            Reason.POOL_MISSING,
            f"NodePool {pool.name} is External and does not exist; create it, or set management: Managed",
            stalled=False,
        )
        return replace(decided, problem=missing, broken=("/",))
    findings = []
    for difference in differences({**wanted, "metadata": {}}, live):
        who = managers.author(live, difference.path)
        if breaks_promise(pool, difference) and not _ignored(ignore, pool.name, difference, who.manager):
            target = f"NodePool/{pool.name}"
            findings.append(Finding(target, difference, who, DriftAction.REPORTED, Reason.EXTERNAL))
    return replace(decided, findings=tuple(findings), broken=tuple(f.difference.pointer for f in findings))


def _ignored(rules: Iterable[IgnoreRule], name: str, difference: Difference, manager: str) -> bool:
    return any(rule.matches(TargetKind.NODE_POOL, name, difference.pointer, manager) for rule in rules)


def _granular(difference: Difference) -> bool:
    """Whether an undeclared field lives in a map that server-side apply merges, and so survives an apply."""
    path = difference.path
    atomic = any(isinstance(part, Element) for part in path) or path[:4] == (*TEMPLATE, "metadata", "labels")
    return difference.expected is None and not atomic


def _whole_list(difference: Difference, body: Mapping[str, Any]) -> bool:
    """Whether an undeclared element stands in a list that the apply does not name, and so leaves."""
    keyed = isinstance(difference.path[-1], Element)
    return difference.expected is None and keyed and get(body, difference.path[:-1]) is None
