"""What of a release is left alone because the user says so (``driftPolicy.ignore``). Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from connect_autoscaler.api.pointers import pointer
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import TargetKind
from connect_autoscaler.release.lists import LISTS, elements
from connect_autoscaler.release.values import Json, Path


def ignored(profile: Profile, where: str, manager: str | None = None) -> bool:
    """Whether a difference is the user's own business.

    Args:
        profile: The profile.
        where: JSON pointer, as status shows it.
        manager: Who made it; None: values have no field manager, so that only rules without managers are for them.
    """
    name = profile.spec.release.name if profile.spec.release else None
    rules = profile.spec.drift_policy.ignore
    return any(rule.matches(TargetKind.RELEASE, name, where, manager) for rule in rules)


def without(overlay: Mapping[str, Any], left_alone: Callable[[str], bool], path: Path = ()) -> Json:
    """The overlay but for what is left alone: that is neither compared nor written."""
    kept: Json = {}
    for key, value in overlay.items():
        below = (*path, key)
        where = pointer(below)
        if left_alone(where):
            continue
        if below in LISTS:
            kind = LISTS[below]
            if items := [item for item in elements(value) if not left_alone(where + kind.name(item))]:
                kept[key] = items
        elif isinstance(value, Mapping):
            if inner := without(value, left_alone, below):
                kept[key] = inner
        else:
            kept[key] = value
    return kept
