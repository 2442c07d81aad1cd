"""A write on behalf of the release that fails is told of the release, and not of the NodePools."""

import pytest

from connect_autoscaler.api.conditions import ConditionType, Problem, Reason
from connect_autoscaler.api.status import ProfileStatus
from connect_autoscaler.core import report
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.model import Outcome, Snapshot
from connect_autoscaler.core.plan import plan
from unit.builders import NOW
from unit.release_views import JOBS, RENDERED, SELECTS, announced, deleted, exported, live, owned, told, view
from unit.reporting import said

FORBIDDEN = KubeError(403, Reason.FORBIDDEN, "configmaps is forbidden", Retry.USER)
BUSY = KubeError(503, Reason.API_UNAVAILABLE, "does not answer", Retry.SOON)


def after(seen: Snapshot, error: KubeError) -> ProfileStatus:
    decided = plan(seen, NOW)
    assert decided.actions
    return report.status(seen, decided, Outcome(failed=tuple((action, error) for action in decided.actions)), NOW)


@pytest.mark.parametrize(
    ("error", "configured", "abnormal"),
    [(FORBIDDEN, ("False", "Forbidden"), "Stalled"), (BUSY, ("Unknown", "ApiUnavailable"), "Reconciling")],
)
def test_an_overlay_that_cannot_be_published(error: KubeError, configured: tuple[str, str], abnormal: str) -> None:
    found = said(after(owned(exported(SELECTS, exported=False)), error))
    assert found["NodePoolsReady"] == ("True", Reason.ALL_READY)
    assert found["ReleaseConfigured"] == found["Ready"] == configured
    assert abnormal in found


def test_a_memory_that_cannot_be_deleted() -> None:
    seen = deleted(view(taken_over=True))
    problem = Problem(Reason.FORBIDDEN, "secrets is forbidden")
    status = report.stopped(seen.profile, [problem], NOW, ConditionType.RELEASE_CONFIGURED)
    found = said(status)
    assert found["ReleaseConfigured"] == found["Ready"] == ("False", Reason.FORBIDDEN)
    before = said(seen.profile.status)
    assert found.get("NodePoolsReady") == before.get("NodePoolsReady") != ("False", Reason.FORBIDDEN)


def test_a_second_difference_is_as_urgent_as_the_first() -> None:
    first = announced(owned(view(applied=True, live=(live(JOBS),))))
    second = owned(view(applied=True, live=(live(JOBS), live(RENDERED))))
    assert report.urgent(first.profile.status, told(second))
    assert not report.urgent(first.profile.status, told(first))
