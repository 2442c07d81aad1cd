"""A reverse proxy before the API server: it records every request, and does to it what the rules say.

It answers plain HTTP unless it is told to speak TLS; credentials and impersonation pass through to the API server. What
belongs to other runs on the same API server is hidden, so that many operators can work beside each other, each alone in
its world.
"""

import asyncio
import contextlib
import json
import re
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

from reliability.answers import abort, code_of, refusal, status_object
from reliability.pulse import Pulse, flush
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
_PROTOBUF: Final = b"k8s\0"
_REVISION: Final = re.compile(rb"sh\.helm\.release\.[\w.-]+")
_FOR_EVER: Final = 3600.0


@dataclass
class Tuning:
    """How long the proxy takes its time, in seconds."""

    slow: float = 4.0
    """Longer than the operator waits for an answer."""
    late: float = 0.7
    """How late an event of a watch comes."""
    pulse: float = 2.0
    """How often a watch tells that it lives, to whom asks for that; API servers do so once a minute."""
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
        secure: Whether it speaks TLS, with the API server's own certificate: client-go gives a token to nobody else.
        died: Set at the moment that a rule names for the operator's death; from then on nothing passes.
    """

    cluster: Cluster
    own: str
    record: Record
    rules: Rules
    writer: str = "1"
    tuning: Tuning = field(default_factory=Tuning)
    secure: bool = False
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
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls() if self.secure else None)
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
            abort(request)

    def kubeconfig(self, original: Path) -> Path:
        """Write a kubeconfig like another one, but for this proxy."""
        document = json.loads(original.read_text())
        server = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.cluster.ca)}
        document["clusters"][0]["cluster"] = server if self.secure else {"server": f"http://127.0.0.1:{self.port}"}
        path = self.cluster.dir / f"kubeconfig-proxy-{self.port}"
        path.touch(mode=0o600)
        path.write_text(json.dumps(document))
        return path

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cluster.dir / "server.crt", self.cluster.dir / "server.key")
        return context

    async def _answer(self, incoming: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        data = await incoming.read() if incoming.can_read_body else b""
        body = _parsed(data)
        agent = incoming.headers.get("User-Agent", "")
        request = Request.of(incoming.method, incoming.path_qs, incoming.content_type, body, agent)
        signature = request.signature(self.own)
        fault = None if self._cut else self.rules.request(signature)
        status, noted = 0, False
        self._open.append(incoming)
        try:
            if self._cut:
                return abort(incoming)
            if fault == Fault.CRASH_BEFORE:
                self._die()
                return abort(incoming)
            if fault == Fault.RESET:
                return abort(incoming)
            if fault is not None and (code := code_of(fault)):
                if request.verb == "watch":
                    status = code
                return refusal(code, patient=fault == Fault.THROTTLED)
            if request.verb == "watch" and fault is None:
                self.record.add(Entry(began, self.writer, request, signature, 200))
                noted = True
                return await self._stream(incoming, request, signature)
            forwarding = asyncio.create_task(self._forward(incoming, request, data, stale=fault == Fault.STALE))
            try:
                status, headers, answer = await asyncio.shield(forwarding)
            except asyncio.CancelledError:  # the operator does not want to know any more, but it is done
                status, _, _ = await forwarding
                raise
            if fault == Fault.SLOW:  # it is carried out now, though its answer may come when all is over
                self.record.add(Entry(began, self.writer, request, signature, status, fault))
                noted = True
            return await self._spoilt(incoming, fault, status, headers, answer)
        finally:
            self._open[:] = [each for each in self._open if each is not incoming]
            if not noted:
                self.record.add(Entry(began, self.writer, request, signature, status, fault))

    async def _spoilt(
        self, incoming: web.Request, fault: str | None, status: int, headers: dict[str, str], answer: bytes
    ) -> web.StreamResponse:
        match fault:
            case Fault.LOST:
                return abort(incoming)
            case Fault.CRASH_LOST:
                self._die()
                return abort(incoming)
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
            # Kopf has its own limit for what is silent, and begins such a watch anew.
            pulse = Pulse(outgoing, incoming.query if not hidden else {}, self.tuning.pulse)
            with contextlib.suppress(ConnectionError, aiohttp.ClientError), pulse:
                await self._events(incoming, outgoing, _lines(answer.content), signature, hidden, pulse)
            return outgoing

    async def _events(
        self,
        incoming: web.Request,
        outgoing: web.StreamResponse,
        lines: AsyncIterator[bytes],
        signature: str,
        hidden: str,
        pulse: Pulse,
    ) -> None:
        kept: list[bytes] = []
        async for line in lines:
            event = json.loads(line)
            pulse.version = event["object"].get("metadata", {}).get("resourceVersion", pulse.version)
            if event["type"] in {"BOOKMARK", "ERROR"}:
                await outgoing.write(line)
            elif not hidden or self._visible(event["object"]):
                self.record.saw(signature)
                fault = self.rules.event(signature)
                if fault in _LAST:
                    pulse.stop()
                    await self._end(fault, incoming, outgoing, line)
                    return
                if fault == Fault.DELAY:
                    await asyncio.sleep(self.tuning.late)
                if fault == Fault.SWAP and not kept:
                    kept.append(line)
                    asyncio.get_running_loop().call_later(self.tuning.late, flush, kept, outgoing)
                elif fault != Fault.DROP:
                    told = (line, *([line] if fault == Fault.REPEAT else ()))
                    same = any(_uid(each) == _uid(line) for each in kept)  # no API server exchanges those of one object
                    for each in (*kept, *told) if same else (*told, *kept):
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
                    abort(incoming)

    def _visible(self, body: dict[str, Any]) -> bool:
        return str(body["metadata"]["name"]).startswith(self.own)


def _uid(line: bytes) -> str:
    return str(json.loads(line)["object"]["metadata"]["uid"])


def _parsed(data: bytes) -> Any:
    """Read a body; of protobuf, in which Helm writes its Secrets, no more than the name."""
    if not data.startswith(_PROTOBUF):
        return json.loads(data) if data else None
    found = _REVISION.search(data)
    return {"metadata": {"name": found[0].decode()}} if found else None


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {key: answer.headers[key] for key in ("Content-Type", "Retry-After") if key in answer.headers}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
