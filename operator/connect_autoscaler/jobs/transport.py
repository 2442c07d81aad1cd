"""How requests get to Connect: what posit-sdk leaves open, in one HTTP adapter.

The SDK sets no time limits, follows redirects with the API key and the body of a POST, and loses its way in errors
without a ``code``. The adapter sees an answer before the SDK does: only complete answers of success get past it.
"""

import contextlib
import io
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter

from connect_autoscaler.jobs.errors import Fault, fault, refusal

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 15.0
"""Between two pieces of an answer."""
TOTAL_SECONDS: Final = 60.0
"""For a whole answer, or a server could keep a thread for ever by a byte now and then."""
LARGEST: Final = 64 * 2**20
"""Bytes of an answer; ten thousand content items have about twenty million."""
_PIECE: Final = 2**16
_OF_ONE_ITEM: Final = ("v1/content/", "v1/tasks/", "applications/")


def trusting(certificates: bytes | None) -> ssl.SSLContext | None:
    """Return a context that trusts these certificate authorities and no other; None: the usual ones.

    Args:
        certificates: One or more in PEM.

    Raises:
        ConnectError: They are none.
    """
    if certificates is None:
        return None
    with contextlib.suppress(ValueError, ssl.SSLError):
        # Without any, the context would trust the usual ones.
        if text := certificates.decode("ascii").strip():
            return ssl.create_default_context(cadata=text)
    raise fault(Fault.MISCONFIGURED, "ca.crt holds no certificate in PEM")


class Adapter(HTTPAdapter):
    """Sends a request within time limits, and raises unless the answer is a success.

    Args:
        context: Whom to trust; None: what requests trusts.
        read: Seconds between two pieces of an answer.
        total: Seconds for a whole answer.
    """

    def __init__(
        self, context: ssl.SSLContext | None = None, *, read: float = READ_SECONDS, total: float = TOTAL_SECONDS
    ) -> None:
        self._context, self._read, self._total = context, read, total
        super().__init__()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the base's signature
        timeout: object = None,  # noqa: ARG002 - the base's signature; there is one for all requests
        verify: Any = True,  # noqa: FBT002 - the base's signature
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send a request and read the whole answer.

        Raises:
            ConnectError: It is no success, or endless.
            requests.RequestException: There is none.
        """
        deadline = time.monotonic() + self._total
        limits = (CONNECT_SECONDS, self._read)
        response = super().send(request, stream, limits, verify, cert, proxies)
        path = path_of(request)
        what = f"{request.method} {path}"
        with contextlib.closing(response.raw):
            if refused := refusal(what, response.status_code, item=path.startswith(_OF_ONE_ITEM)):
                raise refused
            body = _whole(response.raw.read1, deadline, what)
            response.raw.release_conn()
        response.raw = io.BytesIO(body)
        return response

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Have connections use the context."""
        host, tls = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, tls if self._context is None else {"ssl_context": self._context, "cert_reqs": "CERT_REQUIRED"}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Add no public authorities to the context."""
        if self._context is None:
            super().cert_verify(conn, url, verify, cert)


def path_of(request: requests.PreparedRequest) -> str:
    """Return the path of a request as messages show it: without host, user and query."""
    return (request.path_url or "/").partition("?")[0].partition("/__api__/")[2] or "/"


def _whole(read: Callable[..., bytes], deadline: float, what: str) -> bytes:
    pieces, size = [], 0
    while piece := read(_PIECE, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            raise fault(Fault.UNREADABLE, f"{what}: the answer has more than {LARGEST >> 20} MiB")
        if time.monotonic() > deadline:
            raise fault(Fault.TIMEOUT, f"{what}: the answer did not end in time")
    return b"".join(pieces)
