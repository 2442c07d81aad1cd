"""The one place where a failure of the Connect API becomes a fault, and a sentence that holds nothing secret.

No sentence quotes what a server sent: whoever answers has seen the API key, and could send it back.
"""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import requests
import urllib3


class Fault(StrEnum):
    """What is wrong with the Connect API."""

    UNREACHABLE = "ConnectUnreachable"
    TIMEOUT = "ConnectTimeout"
    UNTRUSTED = "ConnectUntrusted"
    UNAUTHORIZED = "ConnectUnauthorized"
    FORBIDDEN = "ConnectForbidden"
    TOO_OLD = "ConnectTooOld"
    GONE = "ConnectContentGone"
    """The content does not exist any more; nothing is wrong with the API."""
    REFUSED = "ConnectRefused"
    REDIRECTED = "ConnectRedirected"
    UNREADABLE = "ConnectUnreadable"
    FAILED = "ConnectFailed"
    MISCONFIGURED = "ConnectAPIInvalid"


_PASSING: Final = frozenset({Fault.UNREACHABLE, Fault.TIMEOUT, Fault.FAILED})


@dataclass(eq=False)
class ConnectError(Exception):
    """A request that Connect did not grant, classified.

    Attributes:
        fault: What is wrong.
        message: One sentence for the user; it never holds the API key, nor anything that a server sent.
        passing: Whether the same request may succeed later though nobody changes anything.
    """

    fault: Fault
    message: str
    passing: bool = False

    def __str__(self) -> str:
        return f"{self.fault}: {self.message}"


def fault(kind: Fault, message: str) -> ConnectError:
    """Return an error, passing or not by its kind."""
    return ConnectError(kind, message, passing=kind in _PASSING)


def refusal(what: str, status: int, *, item: bool) -> ConnectError | None:
    """Classify a status; None: it is a success.

    Args:
        what: The request in words.
        status: HTTP status.
        item: Whether it was about one content item, which may be gone; else the endpoint itself is missing.
    """
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if status < HTTPStatus.BAD_REQUEST:
        return fault(Fault.REDIRECTED, f"{what}: the server redirects ({status}); set url to where it redirects to")
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return fault(Fault.UNAUTHORIZED, f"{what}: Connect does not accept the API key")
        case HTTPStatus.FORBIDDEN:
            return fault(Fault.FORBIDDEN, f"{what}: the API key is not an administrator's")
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE if item:
            return fault(Fault.GONE, f"{what}: it does not exist")
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
            return fault(Fault.TOO_OLD, f"{what}: the server does not have this endpoint: too old, or not Connect")
        case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.REQUEST_TIMEOUT:
            return fault(Fault.FAILED, f"{what}: Connect asks to come back later ({status})")
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return fault(Fault.FAILED, f"{what}: Connect failed ({status})")
        case _:
            return fault(Fault.REFUSED, f"{what}: Connect refused it ({status})")


def failure(what: str, error: Exception) -> ConnectError:
    """Classify what was raised instead of an answer.

    Args:
        what: The request in words.
        error: What requests, urllib3 or the standard library raised.
    """
    for each in _chain(error):
        match each:
            case ConnectError():
                return each
            case ssl.SSLCertVerificationError():
                return fault(Fault.UNTRUSTED, f"{what}: the server's certificate is not trusted: {each.verify_message}")
            case ssl.SSLError():
                return fault(Fault.UNTRUSTED, f"{what}: no TLS connection can be made; does the server speak https?")
    match error:
        case requests.exceptions.SSLError():
            return fault(Fault.UNTRUSTED, f"{what}: no TLS connection can be made")
        case requests.Timeout() | urllib3.exceptions.TimeoutError() | TimeoutError():
            return fault(Fault.TIMEOUT, f"{what}: no answer in time")
        case requests.exceptions.ProxyError():
            return fault(Fault.UNREACHABLE, f"{what}: the proxy does not let through")
        case requests.JSONDecodeError() | ValueError() | KeyError() | TypeError() | AttributeError():
            return fault(Fault.UNREADABLE, f"{what}: the answer is none of Connect's; does url name its address?")
        case urllib3.exceptions.DecodeError():
            return fault(Fault.UNREADABLE, f"{what}: the answer cannot be decoded")
        case _:
            return fault(Fault.UNREACHABLE, f"{what}: {_unreachable(error)}")


def _unreachable(error: Exception) -> str:
    for each in _chain(error):
        match each:
            case urllib3.exceptions.NameResolutionError():
                return "the name of the host is not known"
            case ConnectionRefusedError():
                return "connection refused"
            case ConnectionResetError() | urllib3.exceptions.ProtocolError():
                return "the connection broke off"
    return "no connection"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it wraps and what it follows from."""
    todo: list[object] = [error]
    seen: set[int] = set()
    while todo:
        each = todo.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            todo += [getattr(each, "reason", None), each.__cause__, each.__context__, *each.args]
