"""Fields of the status that are cut to the bounds of the CRD: a report must never be lost because it is too long."""

import json
from bisect import bisect_right
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, AwareDatetime

from connect_autoscaler.api.fields import CamelCase, text

T = TypeVar("T")

_ELLIPSIS: Final = "…"
_MESSAGE: Final = 2048
_JSON_BYTES: Final = 256


def clip(value: str, maximum: int) -> str:
    """Return the text, cut with an ellipsis if it is longer than `maximum` characters."""
    return value if len(value) <= maximum else value[: maximum - 1] + _ELLIPSIS


def json_text(value: object) -> str:
    """Return a value as compact JSON of at most 256 bytes.

    What is longer becomes the JSON string of its cut JSON text, which ends with an ellipsis: still JSON, plainly cut.
    """
    whole = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return _fitting(whole.encode(errors="replace").decode())  # JSON may hold half a character


def _fitting(whole: str) -> str:
    if len(whole.encode()) <= _JSON_BYTES:
        return whole

    def cut(kept: int) -> str:
        return json.dumps(whole[:kept] + _ELLIPSIS, ensure_ascii=False)

    longest = bisect_right(range(_JSON_BYTES), _JSON_BYTES, key=lambda kept: len(cut(kept).encode())) - 1
    return cut(longest)


def clipped(maximum: int) -> AfterValidator:
    """Return a validator that cuts a text to that many characters."""
    return AfterValidator(lambda value: clip(value, maximum))


def first_of(maximum: int) -> AfterValidator:
    """Return a validator that keeps that many entries of a list."""

    def cut(entries: tuple[T, ...]) -> tuple[T, ...]:
        return entries[:maximum]

    return AfterValidator(cut)


def _whole_seconds(value: datetime) -> datetime:
    return value.astimezone(UTC).replace(microsecond=0)


Time = Annotated[AwareDatetime, AfterValidator(_whole_seconds)]
"""A time in UTC, in whole seconds as Kubernetes writes them."""
Message = Annotated[str, clipped(_MESSAGE)]
JsonText = Annotated[str, AfterValidator(_fitting), text(_JSON_BYTES)]
Digest = Annotated[str, text(80, "^(sha256:)?[0-9a-f]{8,64}$")]
Target = Annotated[str, text(320)]
"""An object as kind/name, such as NodePool/connect-server or Release/posit/connect."""
Path = Annotated[str, clipped(512), text(512)]
Word = Annotated[CamelCase, text(32)]
