"""What has become of an upgrade, read from the revisions that it left."""

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release.helm_errors import HelmError
from connect_autoscaler.release.history import Entry
from connect_autoscaler.release.outcome import judge

BASE = 3
TIMEOUT = HelmError(Reason.TIMEOUT, "The servers did not become ready")
BACK = HelmError(Reason.ROLLED_BACK, "Rolled back: not ready", cause=Reason.TIMEOUT)
KILLED = HelmError(Reason.ROLLED_BACK, "Rolled back: interrupted", cause=Reason.CANCELLED)
CANCELLED = HelmError(Reason.CANCELLED, "Interrupted")
PASSING = HelmError(Reason.ROLLED_BACK, "Rolled back: no answer", passing=True, cause=Reason.API_UNAVAILABLE)
UNHEARD = HelmError(Reason.API_UNAVAILABLE, "No answer", passing=True)
STUCK_BY_CHANCE = HelmError(
    Reason.ROLLBACK_FAILED, "No way back: no answer", passing=True, cause=Reason.API_UNAVAILABLE
)
STUCK = HelmError(Reason.ROLLBACK_FAILED, "The rollback failed")
CONFLICT = HelmError(Reason.CONFLICT, "kubectl owns /spec/replicas")


def entry(status: str | None, number: int) -> Entry | None:
    return Entry(f"v{number}", f"uid-of-v{number}", "1", number, status) if status else None


@pytest.mark.parametrize(
    ("first", "second", "undone", "failure", "reason"),
    [
        ("deployed", None, False, None, None),
        ("superseded", "deployed", False, None, None),
        ("superseded", "deployed", True, None, None),
        ("failed", "deployed", True, BACK, Reason.ROLLED_BACK),
        ("failed", "deployed", True, TIMEOUT, Reason.ROLLED_BACK),
        ("failed", "deployed", True, KILLED, Reason.CANCELLED),
        ("failed", None, False, CANCELLED, Reason.CANCELLED),
        ("failed", "deployed", True, None, Reason.CANCELLED),
        ("failed", None, False, TIMEOUT, Reason.TIMEOUT),
        ("failed", None, False, None, Reason.CANCELLED),
        ("failed", "deployed", False, None, Reason.CANCELLED),
        ("superseded", "failed", True, None, Reason.ROLLBACK_FAILED),
        ("superseded", "failed", True, STUCK, Reason.ROLLBACK_FAILED),
        ("superseded", "deployed", True, BACK, Reason.ROLLED_BACK),
        ("failed", "deployed", True, PASSING, Reason.CANCELLED),
        ("failed", "deployed", True, UNHEARD, Reason.CANCELLED),
        ("failed", "failed", True, STUCK_BY_CHANCE, Reason.CANCELLED),
        ("superseded", "failed", False, None, None),
    ],
    ids=[
        "deployed", "and somebody upgraded since", "and somebody rolled back since", "rolled back, heard",
        "rolled back, told by its revision", "rolled back when interrupted", "interrupted", "rolled back, unheard",
        "failed, heard", "failed, unheard", "failed, and somebody upgraded since",
        "rollback failed, unheard", "rollback failed, heard", "rolled back, marked superseded",
        "rolled back for what passes", "rolled back for what passes, told by its revision", "and so did the rollback",
        "and somebody failed since",
    ],
)  # fmt: skip
def test_of_our_own_revision(
    first: str,
    second: str | None,
    undone: bool,  # noqa: FBT001 - a column
    failure: HelmError | None,
    reason: Reason | None,
) -> None:
    verdict = judge(entry(first, BASE + 1), entry(second, BASE + 2), mine=True, undone=undone, failure=failure)
    assert verdict is not None
    assert verdict.reason is reason
    assert bool(verdict.message) is (reason is not None)


@pytest.mark.parametrize("status", ["pending-upgrade", "pending-rollback", "uninstalling"])
@pytest.mark.parametrize("failure", [None, TIMEOUT])
def test_a_lock_is_no_verdict(status: str, failure: HelmError | None) -> None:
    assert judge(entry(status, BASE + 1), None, mine=True, undone=False, failure=failure) is None


@pytest.mark.parametrize("failure", [None, TIMEOUT, STUCK])
def test_nor_is_that_of_the_way_back(failure: HelmError | None) -> None:
    back = entry("pending-rollback", BASE + 2)
    assert judge(entry("failed", BASE + 1), back, mine=True, undone=True, failure=failure) is None


@pytest.mark.parametrize("first", [None, "deployed", "pending-upgrade", "failed"])
def test_an_upgrade_that_left_no_revision_failed_or_never_began(first: str | None) -> None:
    heard = judge(entry(first, BASE + 1), None, mine=False, undone=False, failure=CONFLICT)
    assert heard is not None
    assert (heard.reason, heard.message) == (Reason.CONFLICT, CONFLICT.message)
    unheard = judge(entry(first, BASE + 1), None, mine=False, undone=False, failure=None)
    assert unheard is not None
    assert unheard.reason is Reason.CANCELLED
