"""A reverse proxy before the API server: it records every request, and does to it what the rules say.

It answers plain HTTP; credentials and impersonation pass through to the API server. What belongs to other runs on the
same API server is hidden, so that many operators can work beside each other, each alone in its world.
"""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from reliability.record import Entry, Record
from reliability.request import Request
from reliability.rules import Fault, Rules
from sandbox import Cluster

_PASSED: Final = ("Authorization", "Accept", "Content-Type", "User-Agent", "Impersonate-User", "Impersonate-Group")
_HIDDEN: Final = frozenset({"connectautoscalingprofiles", "nodepools", "nodeclaims"})
"""Kinds of which others' objects are not shown."""
_LARGEST: Final = 2**26
_LAST: Final = frozenset({Fault.SILENCE, Fault.GONE, Fault.INTERNAL, Fault.ENDED, Fault.BROKEN, Fault.GARBLED})
"""Faults after which a watch tells nothing more."""
_FOR_EVER: Final = 3600.0
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


def status_object(code: int) -> dict[str, Any]:
    """Return a `meta.k8s.io/v1` Status."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"the fault proxy says {code}",
        "reason": _REASONS.get(code, ""),
        "code": code,
    }


@dataclass
class Tuning:
    """How long the proxy takes its time, in seconds."""

    slow: float = 4.0
    """Longer than the operator waits for an answer."""
    late: float = 0.7
    """How late an event of a watch comes."""
    stale: str = ""
    """The resourceVersion of the past that stale lists show."""


@dataclass
class Proxy:
    """One listener, for one incarnation of the operator.

    Attributes:
        cluster: Whose API server.
        own: What the names of all objects begin with that this operator sees; empty: it sees everything.
        record: Where requests are written down.
        rules: What is done to them.
        writer: How the record calls this incarnation.
        tuning: How long things take.
        died: Set at the moment that a rule names for the operator's death; from then on nothing passes.
    """

    cluster: Cluster
    own: str
    record: Record
    rules: Rules
    writer: str = "1"
    tuning: Tuning = field(default_factory=Tuning)
    died: "Future[None]" = field(default_factory=Future)
    port: int = field(default=0, init=False)
    _cut: bool = field(default=False, init=False)
    _runner: web.AppRunner | None = field(default=None, init=False)
    _session: aiohttp.ClientSession | None = field(default=None, init=False)
    _open: list[web.Request] = field(default_factory=list, init=False)

    async def open(self) -> None:
        """Begin to listen on a free port."""
        context = ssl.create_default_context(cafile=str(self.cluster.ca))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )
        app = web.Application(client_max_size=_LARGEST)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """End every connection and stop listening."""
        self.cut()
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()

    def cut(self) -> None:
        """Let nothing pass any more: to the API server the operator is dead."""
        self._cut = True
        for request in self._open:
            _abort(request)

    def kubeconfig(self, original: Path) -> Path:
        """Write a kubeconfig like another one, but for this proxy."""
        document = json.loads(original.read_text())
        document["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        path = self.cluster.dir / f"kubeconfig-proxy-{self.port}"
        path.touch(mode=0o600)
        path.write_text(json.dumps(document))
        return path

    async def _answer(self, incoming: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        data = await incoming.read() if incoming.can_read_body else b""
        body = json.loads(data) if data else None
        agent = incoming.headers.get("User-Agent", "")
        request = Request.of(incoming.method, incoming.path_qs, incoming.content_type, body, agent)
        signature = request.signature(self.own)
        fault = None if self._cut else self.rules.request(signature)
        status = 0
        self._open.append(incoming)
        try:
            if self._cut:
                return _abort(incoming)
            if fault == Fault.CRASH_BEFORE:
                self._die()
                return _abort(incoming)
            if fault == Fault.RESET:
                return _abort(incoming)
            if fault is not None and (code := _code(fault)):
                if request.verb == "watch":
                    status = code
                return _refusal(code, patient=fault == Fault.THROTTLED)
            if request.verb == "watch" and fault is None:
                noted = Entry(began, self.writer, request, signature, 200)
                self.record.add(noted)
                status = -1
                return await self._stream(incoming, request, signature)
            status, headers, answer = await self._forward(incoming, request, data, stale=fault == Fault.STALE)
            return await self._spoilt(incoming, fault, status, headers, answer)
        finally:
            self._open[:] = [each for each in self._open if each is not incoming]
            if status >= 0:
                self.record.add(Entry(began, self.writer, request, signature, status, fault))

    async def _spoilt(
        self, incoming: web.Request, fault: str | None, status: int, headers: dict[str, str], answer: bytes
    ) -> web.StreamResponse:
        match fault:
            case Fault.LOST:
                return _abort(incoming)
            case Fault.CRASH_LOST:
                self._die()
                return _abort(incoming)
            case Fault.CRASH_AFTER:
                asyncio.get_running_loop().call_later(0.002, self._die)
            case Fault.SLOW:
                await asyncio.sleep(self.tuning.slow)
            case Fault.TRUNCATED:
                answer = answer[: len(answer) // 2]
        return web.Response(status=status, headers=headers, body=answer)

    def _die(self) -> None:
        self.cut()
        if not self.died.done():
            self.died.set_result(None)

    async def _forward(
        self, incoming: web.Request, request: Request, data: bytes, *, stale: bool
    ) -> tuple[int, dict[str, str], bytes]:
        url = incoming.path_qs
        if stale and self.tuning.stale:
            url += f"{'&' if '?' in url else '?'}resourceVersion={self.tuning.stale}&resourceVersionMatch=Exact"
        async with self._ask(incoming, url, data) as answer:
            body = await answer.read()
            if (
                self.own
                and request.verb == "list"
                and request.resource in _HIDDEN
                and answer.status == web.HTTPOk.status_code
            ):
                listed = json.loads(body)
                listed["items"] = [each for each in listed["items"] or () if self._visible(each)]
                body = json.dumps(listed).encode()
            return answer.status, _kept(answer), body

    def _ask(self, incoming: web.Request, url: str, data: bytes) -> Any:
        assert self._session is not None
        headers = CIMultiDict((key, value) for key, value in incoming.headers.items() if key.title() in _PASSED)
        # A body, or a type, that the request did not have would be answered with 415.
        if not data:
            headers.popall("Content-Type", None)
        skipped = () if data else ("Content-Type",)
        return self._session.request(
            incoming.method,
            f"{self.cluster.server}{url}",
            headers=headers,
            data=data or None,
            skip_auto_headers=skipped,
        )

    async def _stream(self, incoming: web.Request, request: Request, signature: str) -> web.StreamResponse:
        async with self._ask(incoming, incoming.path_qs, b"") as answer:
            if answer.status != web.HTTPOk.status_code:
                return web.Response(status=answer.status, headers=_kept(answer), body=await answer.read())
            outgoing = web.StreamResponse(headers=_kept(answer))
            outgoing.enable_chunked_encoding()
            await outgoing.prepare(incoming)
            hidden = self.own if request.resource in _HIDDEN else ""
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await self._events(incoming, outgoing, _lines(answer.content), signature, hidden)
            return outgoing

    async def _events(
        self,
        incoming: web.Request,
        outgoing: web.StreamResponse,
        lines: AsyncIterator[bytes],
        signature: str,
        hidden: str,
    ) -> None:
        kept: list[bytes] = []
        async for line in lines:
            event = json.loads(line)
            if event["type"] in {"BOOKMARK", "ERROR"}:
                await outgoing.write(line)
            elif not hidden or self._visible(event["object"]):
                self.record.saw(signature)
                fault = self.rules.event(signature)
                if fault in _LAST:
                    await self._end(fault, incoming, outgoing, line)
                    return
                if fault == Fault.DELAY:
                    await asyncio.sleep(self.tuning.late)
                if fault == Fault.SWAP and not kept:
                    kept.append(line)
                    asyncio.get_running_loop().call_later(self.tuning.late, _flush, kept, outgoing)
                elif fault != Fault.DROP:
                    for each in (line, *([line] if fault == Fault.REPEAT else ()), *kept):
                        await outgoing.write(each)
                    kept.clear()

    async def _end(self, fault: str | None, incoming: web.Request, outgoing: web.StreamResponse, line: bytes) -> None:
        """Let an event be the last that is heard of a watch, in one way or another."""
        match fault:
            case Fault.SILENCE:
                await asyncio.sleep(_FOR_EVER)
            case Fault.GONE | Fault.INTERNAL:
                status = status_object(410 if fault == Fault.GONE else 500)
                await outgoing.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
            case Fault.BROKEN | Fault.GARBLED:
                await outgoing.write(line[: len(line) // 2])
                if fault == Fault.BROKEN:
                    _abort(incoming)

    def _visible(self, body: dict[str, Any]) -> bool:
        return str(body["metadata"]["name"]).startswith(self.own)


def _flush(kept: list[bytes], outgoing: web.StreamResponse) -> None:
    """Send what was kept back for an exchange with an event that never came."""

    async def send() -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            for line in kept:
                await outgoing.write(line)
            kept.clear()

    task = asyncio.ensure_future(send())
    task.add_done_callback(lambda done: done.exception())


def _code(fault: str) -> int:
    if fault == Fault.THROTTLED:
        return 429
    kind, _, code = fault.partition(":")
    return int(code) if kind == "error" else 0


def _refusal(code: int, *, patient: bool) -> web.Response:
    headers = {"Retry-After": "1"} if patient else {}
    return web.json_response(status_object(code), status=code, headers=headers)


def _abort(incoming: web.Request) -> web.StreamResponse:
    """Break the connection; the answer that is returned reaches nobody."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response(status=499)


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {key: answer.headers[key] for key in ("Content-Type", "Retry-After") if key in answer.headers}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
