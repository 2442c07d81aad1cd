"""Watches from outside: what the API server shows to everybody, and when."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from harness.api import Api, Json, Kind
from sandbox import Cluster
from sandbox.access import client

_LARGEST = 2**21  # bytes of one event
_PAUSE = 0.2


@dataclass(frozen=True)
class Event:
    """An event of a watch.

    Attributes:
        type: ADDED, MODIFIED or DELETED.
        object: The object after it (for DELETED: the last one).
        at: When it arrived: seconds of `time.perf_counter`.
    """

    type: str
    object: Json
    at: float

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])


async def watch(
    cluster: Cluster, kind: Kind, *, version: str = "", started: asyncio.Event | None = None
) -> AsyncIterator[Event]:
    """Yield the events of all objects of a kind, as the administrator, until the API server ends the stream.

    Args:
        cluster: Where.
        kind: Of what.
        version: The resourceVersion to start behind; by default the stream begins with an ADDED for each that exists.
        started: Set when the API server has accepted the watch.

    Raises:
        aiohttp.ClientError: If the API server refuses, or the connection breaks.
    """
    user = json.loads(cluster.kubeconfig.read_text())["users"][0]["user"]
    context = ssl.create_default_context(cafile=str(cluster.ca))
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    group = kind.version if "/" in kind.version else f"api/{kind.version}"
    prefix = "" if group.startswith("api/") else "apis/"
    where = f"namespaces/{kind.namespace}/" if kind.namespace else ""
    query = {"watch": "true", **({"resourceVersion": version} if version else {})}
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=_LARGEST,
            raise_for_status=True,
        ) as session,
        session.get(f"{cluster.server}/{prefix}{group}/{where}{kind.plural}", params=query) as answer,
    ):
        if started:
            started.set()
        async for line in answer.content:
            at = time.perf_counter()
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise aiohttp.ClientPayloadError(event["object"].get("message", ""))
            yield Event(event["type"], event["object"], at)


async def follow(cluster: Cluster, kind: Kind, see: Callable[[Api, Event], None], started: asyncio.Event) -> None:
    """Watch for ever, and begin anew whenever the API server has ended the watch, or was restarted.

    Args:
        cluster: Where.
        kind: Of what.
        see: Takes each event; an administrator's connection comes with it.
        started: Set when the API server has accepted the watch.
    """
    http = client(cluster.kubeconfig)
    with contextlib.closing(http.session):
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async for event in watch(cluster, kind, started=started):
                    see(Api(http), event)
            await asyncio.sleep(_PAUSE)


class Timeline:
    """Keeps every event of a kind while its context lasts, and waits for those to come.

        async with Timeline(cluster, NODE_POOLS) as timeline:
            start = timeline.mark()
            ...
            event = await timeline.until(lambda event: event.type == "DELETED", since=start)

    Only what happens after the context was entered counts. Where times matter: make blocking calls in a thread, since
    they hold the loop and so the clock up, and measure from a request's leaving to an event, since two events that
    arrive in one piece seem to be simultaneous.
    """

    def __init__(self, cluster: Cluster, kind: Kind) -> None:
        self.events: list[Event] = []
        self._cluster, self._kind = cluster, kind
        self._news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        listed = self._cluster.api.get(
            version=self._kind.version, url=self._kind.plural, namespace=self._kind.namespace, params={"limit": 1}
        )
        listed.raise_for_status()
        started = asyncio.Event()
        self._task = asyncio.create_task(self._follow(listed.json()["metadata"]["resourceVersion"], started))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            self._task.result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError):
                await self._task

    def mark(self) -> int:
        """Return a place: behind everything that has arrived."""
        return len(self.events)

    async def until(self, wanted: Callable[[Event], bool], *, since: int = 0, seconds: float = 30) -> Event:
        """Return the first event from a place on that is wanted, waiting for it if need be.

        Raises:
            TimeoutError: If none arrives in time.
        """
        at = since
        async with asyncio.timeout(seconds), self._news:
            while True:
                for event in self.events[at:]:
                    if wanted(event):
                        return event
                at = len(self.events)
                if self._task and self._task.done():
                    self._task.result()
                    raise TimeoutError("the API server ended the watch")
                await self._news.wait()

    async def _follow(self, version: str, started: asyncio.Event) -> None:
        try:
            async for event in watch(self._cluster, self._kind, version=version, started=started):
                async with self._news:
                    self.events.append(event)
                    self._news.notify_all()
        finally:
            async with self._news:
                self._news.notify_all()
