"""What users ask for by annotations."""

from typing import Final

from connect_autoscaler.api.clipping import clip
from connect_autoscaler.api.names import ANNOTATION_REQUESTED_AT
from connect_autoscaler.api.profile import Profile

_ANNOTATION_LENGTH: Final = 256


def requested_at(profile: Profile) -> str | None:
    """The reconcile request of the profile's annotation, cut as status holds it."""
    value = profile.annotations.get(ANNOTATION_REQUESTED_AT)
    return clip(value, _ANNOTATION_LENGTH) if value is not None else None
