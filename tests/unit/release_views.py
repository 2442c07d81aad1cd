"""Releases as passes see them, and what was decided about them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.spec import ReleaseManager
from connect_autoscaler.api.status import ProfileStatus
from connect_autoscaler.core import report
from connect_autoscaler.core.model import Outcome, ReleasePlan, Snapshot, Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.release_model import Attempted, LiveChange, Phase, Prepared, ReleaseView, Work
from connect_autoscaler.nodepools.managers import UNKNOWN, Author
from connect_autoscaler.release.facts import Facts, guards
from connect_autoscaler.release.history import Entries, Entry
from connect_autoscaler.release.manifest import ObjectKey, Server
from connect_autoscaler.release.merge import Change
from unit.builders import NOW, Json, settled
from unit.release_builders import OVERLAY, SELECTOR

RELEASE: Final[Json] = {"release": {"namespace": "posit", "name": "connect"}}
TARGET: Final = "Release/posit/connect"
DEPLOYMENT: Final = ObjectKey("Deployment", "posit", "connect-rstudio-connect")
CONFIG: Final = ObjectKey("ConfigMap", "posit", "connect-rstudio-connect")
SERVER: Final = Server(DEPLOYMENT, CONFIG)
KEY: Final = "revision 3, the overlay, generation 1"

TOLERATION: Final = Change("/tolerations[key=workload,effect=NoSchedule]", OVERLAY["tolerations"][0], None)
"""A difference that breaks the promise."""
SELECTS: Final = Change("/nodeSelector/workload", "connect-server", None)
ANNOTATION: Final = Change("/pod/annotations/karpenter.sh~1do-not-disrupt", "true", None)
JOBS: Final = Change(
    "/backends/kubernetes/defaultResourceJobBase/spec/template/spec/nodeSelector/workload", "connect-content", None
)
"""One that does not."""
RENDERED: Final = Change("/config/Kubernetes/RenderedContentAnnotation[key=karpenter.sh/do-not-disrupt]", "true", None)
THEIRS: Final = Change("/topologySpreadConstraints[topologyKey=zone,whenUnsatisfiable=DoNotSchedule]", 1, 2)
"""A value that the user keeps."""
EVERYTHING: Final = (TOLERATION, SELECTS, ANNOTATION, JOBS, RENDERED)
BY_HAND: Final = Author("kubectl-edit", "2026-03-02T11:00:00Z")


def facts(*changes: Change, **fields: Any) -> Facts:
    """Return a release that lacks these values; fields are those of `Facts`."""
    usual: Json = {
        "revision": 3,
        "description": "Upgrade complete",
        "rollback_to": None,
        "deployed_at": NOW - timedelta(hours=1),
        "chart": "rstudio-connect-0.21.0",
        "apply_method": "ssa",
        "server": SERVER,
        "selector": SELECTOR,
        "content_namespace": "posit",
        "service": None,
        "problem": None,
        "config": "",
        "wanted": OVERLAY,
        "expected": OVERLAY,
        "kept": (),
        "ineffective": (),
        "export": OVERLAY,
    }
    return Facts(**{**usual, **fields}, changes=changes)


def entries(number: int = 3, status: str = "deployed", *, deployed: int = 3) -> Entries:
    """Return the revisions that matter: the last one, and the one that runs."""
    revisions = {deployed: "deployed", number: status}
    found = Entries.of(Entry(f"v{n}", f"uid-of-v{n}", "1", n, said) for n, said in revisions.items())
    assert found is not None
    return found


def live(change: Change, *, target: str = str(DEPLOYMENT), mutated: bool = False, by: Author = BY_HAND) -> LiveChange:
    """Return a difference of a live object."""
    who = UNKNOWN if mutated else by
    where = replace(change, pointer=f"/spec/template/spec{change.pointer}")
    return LiveChange(target, where, who, guards(change.pointer), mutated)


def prepared(**fields: Any) -> Prepared:
    """Return a proof that succeeded, of an upgrade that restarts the servers."""
    return Prepared(**{"key": KEY, "restarts": True, **fields})


def attempted(reason: Reason | None = None, *, finished: bool = True, **fields: Any) -> Attempted:
    """Return the last upgrade: a failed one, by default for the cause at hand, five minutes ago."""
    usual: Json = {
        "id": "a1",
        "base": 3,
        "started": NOW - timedelta(minutes=5),
        "cause": "cause",
        "message": "The upgrade failed and was rolled back" if reason else "",
        "orphaned": not finished,
    }
    return Attempted(finished=finished, reason=reason, **{**usual, **fields})


def work(phase: Phase = Phase.UPGRADING) -> Work:
    return Work("a1", phase, NOW - timedelta(seconds=30))


def view(*changes: Change, **fields: Any) -> ReleaseView:
    """Return a release that Helm keeps, proven and carrying the overlay but for these changes.

    Args:
        *changes: What its values lack.
        **fields: Fields of `ReleaseView`.
    """
    usual: Json = {
        "namespace": "posit",
        "name": "connect",
        "manager": ReleaseManager.HELM,
        "entries": entries(),
        "facts": facts(*changes),
        "applied": False,
        "key": KEY,
        "cause": "cause",
        "prepared": prepared(),
    }
    return ReleaseView(**{**usual, **fields})


EXPORT: Final[Json] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "production-values", "namespace": "flux-system"},
    "data": {"values.yaml": "{}\n"},
}


def exported(*changes: Change, **fields: Any) -> ReleaseView:
    """Return a release that Flux writes; its overlay is published."""
    usual: Json = {
        "manager": ReleaseManager.FLUX,
        "export": EXPORT,
        "exported": True,
        "advice": "add to HelmRelease flux-system/connect, as the last entry of spec.valuesFrom: production-values",
        "prepared": None,
    }
    return view(*changes, **{**usual, **fields})


def owned(seen: ReleaseView, spec: Json | None = None, **fields: Any) -> Snapshot:
    """Return a profile whose NodePools are Ready, and its release."""
    return settled({**RELEASE, **(spec or {})}, release=seen, **fields)


AT_ONCE: Final[Json] = {"disruptions": {"when": "Immediately"}}
CORRECT: Final[Json] = {"driftPolicy": {"release": "Correct"}}
GATELESS: Final[Json] = {**AT_ONCE, **CORRECT}
RESTORE: Final[Json] = {"deletionPolicy": {"release": "Restore"}}


def decided(seen: Snapshot, now: datetime = NOW) -> ReleasePlan:
    """Return what is decided about the release."""
    made = plan(seen, now).release
    assert made is not None
    return made


def verdict(seen: Snapshot, now: datetime = NOW) -> tuple[str, str]:
    """Return status and reason of ReleaseConfigured."""
    found = decided(seen, now).verdict
    return found.status, found.reason


def begins(seen: Snapshot, now: datetime = NOW) -> Verb | None:
    """Return the work that begins."""
    action = decided(seen, now).work
    return action.verb if action else None


def waits(seen: Snapshot, now: datetime = NOW) -> list[tuple[Verb, Reason]]:
    """Return what waits, and for what."""
    return [(action.verb, reason) for action, reason in decided(seen, now).deferred]


def begun(seen: Snapshot, now: datetime = NOW) -> Snapshot:
    """Return what the worker sees once the work that was decided on is under way."""
    made = plan(seen, now).release
    if made is None or made.work is None or seen.release is None:
        return seen
    phases = {Verb.UPGRADE: Phase.UPGRADING, Verb.RESTORE: Phase.UPGRADING, Verb.UNLOCK: Phase.UNLOCKING}
    phase = Phase.SETTLING if made.work.verb is Verb.SETTLE else phases.get(made.work.verb, Phase.PREPARING)
    return replace(seen, release=replace(seen.release, work=Work("a2", phase, now)))


def told(seen: Snapshot, now: datetime = NOW) -> ProfileStatus:
    """Return the status of a pass."""
    return report.status(seen, plan(seen, now), Outcome(done=plan(seen, now).actions), now)


def announced(seen: Snapshot) -> Snapshot:
    """Return the same after its status was written."""
    return replace(seen, profile=replace(seen.profile, status=told(seen)))


def message(seen: Snapshot, kind: str = "ReleaseConfigured") -> str:
    """Return what a condition says."""
    found = told(seen).condition(kind)
    assert found is not None, kind
    return found.message


_TIMES: Final = tuple(NOW - timedelta(hours=hours) for hours in (1, 5, 23, 25))
_BUSY: Final = tuple(f"render-{n:02}-{'x' * 40}" for n in range(12))
_PROBLEMS: Final = (
    Problem(Reason.RELEASE_NOT_FOUND, "There is no Helm release connect in namespace posit", stalled=False),
    Problem(Reason.OWNER_AMBIGUOUS, "Deployment connect carries marks of Flux and of Argo CD"),
)
_REFUSED: Final = Problem(Reason.LAUNCHER_ENABLED, "launcher.enabled is true in the release")


def _often(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Return the usual, but for one time in eight: many things have to go well before an upgrade begins."""
    return st.sampled_from([*[usual] * 7 * len(others), *others])


def _some(values: Iterable[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(list(values)), max_size=3, unique_by=str).map(tuple)


@st.composite
def release_views(draw: st.DrawFn) -> ReleaseView:
    """Return a release in any state that people, machines and bad luck bring it into."""
    if problem := draw(_often(None, *_PROBLEMS)):
        return ReleaseView("posit", "connect", problem=problem)
    found = facts(
        *draw(_some(EVERYTHING)),
        rollback_to=draw(_often(None, 1)),
        problem=draw(_often(None, _REFUSED)),
        kept=draw(_often((), (THEIRS,))),
        ineffective=draw(_often((), (RENDERED,))),
    )
    changed = [live(each) for each in (ANNOTATION, JOBS)] + [live(SELECTS, mutated=True)]
    tried = [
        attempted(reason, finished=finished, cause=cause, started=NOW - timedelta(seconds=age), orphaned=not finished)
        for reason, finished in ((Reason.TIMEOUT, True), (Reason.CANCELLED, True), (None, False))
        for cause in ("cause", "another")
        for age in (3, 300)
    ]
    proofs = (
        None,
        prepared(restarts=False),
        prepared(key="of earlier"),
        prepared(problem=Problem(Reason.CHART_UNAVAILABLE, "No chart", stalled=False), until=NOW + timedelta(hours=1)),
        prepared(problem=Problem(Reason.CHART_MISMATCH, "Other objects"), until=NOW - timedelta(seconds=1)),
    )
    make = exported if draw(st.sampled_from([False, False, False, True])) else view
    whole = make(
        facts=draw(_often(found, None)),
        entries=draw(_often(entries(), entries(4, "pending-upgrade"), entries(4, "failed"))),
        applied=draw(st.booleans()),
        taken_over=draw(st.booleans()),
        attempted=draw(_often(None, *tried)),
        live=draw(_some(changed)),
        rolled_out=draw(_often(True, False)),  # noqa: FBT003 - values, not switches
        selects=draw(st.booleans()),
        busy=_BUSY[: draw(st.sampled_from([0, 0, 1, 12]))],
        work=draw(_often(None, *map(work, Phase))),
        prepared=draw(_often(prepared(), *proofs)),
        corrections=tuple(
            (time, draw(st.sampled_from(["helm upgrade", "kubectl-edit"]))) for time in draw(_some(_TIMES))
        ),
        shadowed=draw(_often((), ("/tolerations",))),
    )
    published: bool = draw(st.booleans())
    return replace(whole, exported=published) if whole.export else whole


def deleted(seen: ReleaseView, spec: Json | None = None, *, ago: timedelta = timedelta(), **fields: Any) -> Snapshot:
    """Return a profile that was deleted some time ago, and its release held against what was there before."""
    whole = owned(seen, {**RESTORE, **(spec or {})}, deleting=True, **fields)
    gone = replace(whole.profile, deleted_at=NOW - ago)
    return replace(whole, profile=gone)
