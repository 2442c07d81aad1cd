"""What may go wrong between the operator and the API of Connect, on demand."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from aiohttp import web
from aiohttp.typedefs import Middleware

Trouble = int | Literal["html", "no code", "no shape", "slow", "hang", "drip", "reset", "redirect"]
"""A status, with a body that quotes the API key; or what else may go wrong."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Fault:
    """One thing that goes wrong.

    Attributes:
        what: How.
        path: How the path below ``/__api__`` begins.
        times: How often; None: always.
        seconds: How long `slow` takes, and `drip` from byte to byte.
        to: Where `redirect` leads.
    """

    what: Trouble
    path: str
    times: int | None
    seconds: float
    to: str


class Faults:
    """Goes wrong as it is told, in the loop that serves."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._closing = asyncio.Event()

    def add(self, fault: Fault) -> None:
        """Have something go wrong; what was added first comes first."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Have nothing go wrong any more."""
        self._faults.clear()

    def close(self) -> None:
        """Let go of every request that is held up."""
        self._closing.set()

    @property
    def middleware(self) -> Middleware:
        """Return what stands before the handlers."""

        @web.middleware
        async def misbehave(request: web.Request, handler: Handler) -> web.StreamResponse:
            fault = next((each for each in self._faults if below(request).startswith(each.path)), None)
            if fault is None:
                return await handler(request)
            if fault.times is not None:
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
            match fault.what:
                case "slow":
                    await self._pause(fault.seconds)
                    return await handler(request)
                case "hang":
                    await self._closing.wait()
                    return web.Response()
                case "drip":
                    return await self._drip(request, fault.seconds)
                case _:
                    return _wrong(request, fault)

        return misbehave

    async def _drip(self, request: web.Request, seconds: float) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while not self._closing.is_set():
                await response.write(b" ")
                await self._pause(seconds)
        return response

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)


def below(request: web.Request) -> str:
    """Return the path of a request below ``/__api__``."""
    return request.path.removeprefix("/__api__/").removeprefix("/")


def error(status: int, text: str) -> web.Response:
    """Return an error as Connect words it."""
    return web.json_response({"code": status, "error": text, "payload": None}, status=status)


def _wrong(request: web.Request, fault: Fault) -> web.Response:
    said = request.headers.get("Authorization", "")
    match fault.what:
        case int(status):
            return error(status, f"You said {said}")
        case "html":
            return web.Response(text=f"<html>Log in, {said}</html>", content_type="text/html")
        case "no code":
            return web.json_response({"error": said}, status=500)
        case "no shape":
            return web.json_response({"results": {"said": said}})
        case "redirect":
            return web.Response(status=307, headers={"Location": fault.to})
        case _:
            _reset(request)
            return web.Response()


def _reset(request: web.Request) -> None:
    """Break the connection off, as a server does that is killed."""
    transport = request.transport
    assert isinstance(transport, asyncio.WriteTransport)
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
