"""The one place where an error of the API server becomes a reason and a time to try again."""

import asyncio
import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Self

import aiohttp

from connect_autoscaler.api.conditions import Reason


class Retry(Enum):
    """What an error asks for."""

    SOON = auto()
    """A passing state of the API server or a lost race: try again with a short back-off."""
    LATER = auto()
    """Somebody has to act, and nothing will announce it: look again now and then."""
    USER = auto()
    """The profile has to change (``Stalled``): look again with the next generation or resync."""


NETWORK_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
_LONGEST = 300.0
"""Seconds that Retry-After may ask for; who is in between may say a day, and nothing would be healed for so long."""
_UNDECLARED = "field not declared in schema"


@dataclass(eq=False)  # not frozen: Python sets __traceback__ where an error passes through a context manager
class KubeError(Exception):
    """A request that the API server did not grant, classified.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        reason: The reason that goes into status.
        message: One sentence for the user.
        retry: Kind of retry.
        retry_after: Seconds the API server asked to wait (header Retry-After), if it did.
    """

    status: int
    reason: Reason
    message: str
    retry: Retry
    retry_after: float | None = None
    absent: bool = False
    """Whether this very object does not exist. Any other 404 may be an API server that does not serve its kind yet."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    @classmethod
    def unreachable(cls, what: str, error: Exception) -> Self:
        """No answer at all: connection refused or reset, DNS, time limit."""
        detail = str(error) or type(error).__name__
        return cls(0, Reason.API_UNAVAILABLE, f"{what}: no answer from the API server ({detail})", Retry.SOON)

    @classmethod
    def from_answer(cls, what: str, status: int, headers: Mapping[str, str], body: bytes) -> Self:
        """Classify an answer with a status of 400 or more.

        Args:
            what: The request in words, for the message.
            status: HTTP status.
            headers: Headers of the answer.
            body: A ``meta.k8s.io/v1`` Status, or whatever a proxy in between sent.
        """
        answer = _status_object(body)
        text = str(answer.get("message") or body[:200].decode(errors="replace") or status)
        reason, retry = _classify(status, text)
        absent = status == HTTPStatus.NOT_FOUND and bool((answer.get("details") or {}).get("name"))
        return cls(status, reason, f"{what}: {text}", retry, _retry_after(headers), absent)

    @classmethod
    def lost_race(cls, error: "KubeError") -> Self:
        """A guarded patch whose test failed: the object is not what the plan saw."""
        return cls(error.status, Reason.CONFLICT, error.message, Retry.SOON)


def _classify(status: int, text: str) -> tuple[Reason, Retry]:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return Reason.UNAUTHORIZED, Retry.LATER
        case HTTPStatus.FORBIDDEN if " denied request" in text or " denied the request" in text:
            # ValidatingAdmissionPolicies and webhooks may answer 403 too; RBAC says "is forbidden: User ... cannot".
            return Reason.ADMISSION_DENIED, Retry.USER
        case HTTPStatus.FORBIDDEN:
            return Reason.FORBIDDEN, Retry.USER
        case HTTPStatus.NOT_FOUND | HTTPStatus.CONFLICT | HTTPStatus.GONE:
            return Reason.CONFLICT, Retry.SOON
        case HTTPStatus.UNPROCESSABLE_ENTITY if "denied the request" in text or "ValidatingAdmissionPolicy" in text:
            return Reason.ADMISSION_DENIED, Retry.USER
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            return Reason.INVALID, Retry.USER
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Reason.THROTTLED, Retry.SOON
        case _ if _UNDECLARED in text:
            # Server-side apply of a field that the CRD lacks answers 500, whatever fieldValidation says.
            return Reason.INVALID, Retry.USER
        case _:
            return Reason.API_UNAVAILABLE, Retry.SOON


def _status_object(body: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds or an HTTP date, within limits; anything else is no answer."""
    value = headers.get("Retry-After", "")
    with contextlib.suppress(ValueError):
        seconds = float(value)
        return None if math.isnan(seconds) else min(max(0.0, seconds), _LONGEST)
    with contextlib.suppress(ValueError, TypeError):
        return min(max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()), _LONGEST)
    return None
