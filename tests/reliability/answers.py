"""What the proxy answers by itself, in the words of an API server: Helm tells no more than those."""

from typing import Any, Final

from aiohttp import web

from reliability.rules import Fault

_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_WORDS: Final = {
    401: "Unauthorized",
    403: 'things is forbidden: User "somebody" cannot do that',
    409: "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version",
    429: "the server has received too many requests and has asked us to try again later",
    500: "Internal error occurred",
    503: "the server is currently unable to handle the request",
    504: "Timeout: request did not complete within the allotted timeout",
}
"""What API servers say: Helm tells no more than that."""


def status_object(code: int) -> dict[str, Any]:
    """Return a `meta.k8s.io/v1` Status."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"{_WORDS.get(code, 'this cannot be')} (the fault proxy says {code})",
        "reason": _REASONS.get(code, ""),
        "code": code,
    }


def code_of(fault: str) -> int:
    """Return the HTTP status that a fault answers with; 0: it does not."""
    if fault == Fault.THROTTLED:
        return 429
    kind, _, code = fault.partition(":")
    return int(code) if kind == "error" else 0


def refusal(code: int, *, patient: bool) -> web.Response:
    """Refuse a request; patiently: with a time to wait."""
    headers = {"Retry-After": "1"} if patient else {}
    return web.json_response(status_object(code), status=code, headers=headers)


def abort(incoming: web.Request) -> web.StreamResponse:
    """Break the connection; the answer that is returned reaches nobody."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response(status=499)
