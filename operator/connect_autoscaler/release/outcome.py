"""What has become of an upgrade, read from the release's Secrets and not from Helm's exit code. Pure."""

from dataclasses import dataclass

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release.helm_errors import HelmError
from connect_autoscaler.release.history import Entry


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it ended."""

    reason: Reason | None
    """None: it is deployed."""
    message: str = ""


def judge(
    next_one: Entry | None, after: Entry | None, *, mine: bool, undone: bool, failure: HelmError | None
) -> Verdict | None:
    """Judge.

    Args:
        next_one: The revision after the one the upgrade was made on.
        after: The revision after that.
        mine: Whether the first of them has the attempt's label and its values.
        undone: Whether the second one is a rollback.
        failure: What Helm said: itself, or, if nobody heard it, by the description of the failed revision.

    Returns:
        None: it holds the lock still.
    """
    said = failure.message if failure else ""
    if next_one is None or not mine:
        if failure and not failure.passing:
            return Verdict(failure.reason, said)
        if failure:
            return Verdict(Reason.CANCELLED, f"{said}; the upgrade is made again")
        return Verdict(Reason.CANCELLED, "The upgrade did not begin, or somebody else's came before; it is made again")
    if next_one.pending:
        return Verdict(Reason.CANCELLED, "The upgrade was interrupted, and undone by hand") if after else None
    if next_one.failed and undone and after and after.pending:
        return None  # helm failed, or died, on its way back
    if next_one.failed or (failure and failure.reason in {Reason.ROLLED_BACK, Reason.ROLLBACK_FAILED}):
        return _failed(failure, said, undone=undone)
    if after and undone and after.failed and next_one.status == "superseded":
        return Verdict(Reason.ROLLBACK_FAILED, said or "The upgrade failed, and its rollback too; look at helm history")
    return Verdict(None)


def _failed(failure: HelmError | None, said: str, *, undone: bool) -> Verdict:
    """Say why. What interrupted it, or passes by itself, is no fault of the upgrade: it is made again."""
    back = " and was rolled back" if undone else ""
    if failure is None:
        return Verdict(Reason.CANCELLED, f"The upgrade was interrupted{back}")
    if Reason.CANCELLED in {failure.reason, failure.cause} and failure.reason is not Reason.ROLLBACK_FAILED:
        return Verdict(Reason.CANCELLED, f"The upgrade was interrupted{back}")
    if failure.passing:
        return Verdict(Reason.CANCELLED, f"{said}; the upgrade is made again")
    if failure.reason is Reason.ROLLBACK_FAILED:
        return Verdict(failure.reason, said)
    if undone and failure.reason is not Reason.ROLLED_BACK:
        return Verdict(Reason.ROLLED_BACK, f"The upgrade failed{back}: {said}")
    return Verdict(failure.reason, said)
