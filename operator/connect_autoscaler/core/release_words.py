"""Words about a release: what is under way, what is waited for, and lists that stay short. Pure."""

from collections.abc import Sequence
from typing import Final

from connect_autoscaler.api.clipping import clip
from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.release_model import Phase, ReleaseView

_NAMED: Final = 3
"""Fields or pods that a message names; more are only counted."""
_LONG: Final = 200
"""Characters that they may take."""


def why_waiting(reason: Reason, view: ReleaseView) -> str:
    """What an upgrade waits for, in one sentence."""
    match reason:
        case Reason.CONTENT_RUNNING:
            return f"Waits until content ends that it would orphan ({listed(view.busy)}), or for approval."
        case Reason.AWAITING_APPROVAL:
            return "Waits for approval."
    return reason.explain


def under_way(view: ReleaseView) -> str:
    """What work on a release is under way."""
    phase = view.work.phase if view.work else Phase.PREPARING
    return {
        Phase.PREPARING: f"An upgrade of {view.target} is being prepared",
        Phase.WAITING: f"The upgrade of {view.target} waits for its turn: two run at a time",
        Phase.UPGRADING: f"helm upgrades {view.target}; the servers are being rolled out",
        Phase.UNLOCKING: f"The lock of an interrupted upgrade of {view.target} is being undone",
        Phase.SETTLING: f"An interrupted upgrade of {view.target} is being judged",
    }[phase]


def listed(names: Sequence[str]) -> str:
    """The first of many; all of them are in ``status.plan`` or ``status.drift``."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return clip(", ".join(names[:_NAMED]), _LONG) + more


def phrase(message: str) -> str:
    """A message to which something is added."""
    return message.rstrip(". ")
