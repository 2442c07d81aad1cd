"""The bench's own way to the API server: plain aiohttp, the cheapest there is in Python. The floor uses it too."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from benchmarks.world import Json

_JSON: Final = "application/json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"
_LINE: Final = 2**22
_FAILED: Final = 400
_KEEP_ALIVE: Final = 80
"""Seconds; the API server closes idle connections after 90."""


class ApiError(Exception):
    """The API server refused something."""


class Api:
    """Requests to one API server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: Path, *, agent: str, connections: int) -> AsyncIterator["Api"]:
        """Connect as the user of a kubeconfig that the sandbox wrote (JSON, certificates in files).

        Args:
            kubeconfig: The file.
            agent: The User-Agent.
            connections: How many requests may be under way at once.
        """
        server, context = _credentials(kubeconfig)
        async with aiohttp.ClientSession(
            server,
            connector=aiohttp.TCPConnector(ssl=context, limit=connections, keepalive_timeout=_KEEP_ALIVE),
            headers={"User-Agent": agent, "Accept": _JSON},
            timeout=aiohttp.ClientTimeout(total=60),
            read_bufsize=_LINE,
        ) as session:
            yield cls(session)

    async def warm_up(self, connections: int) -> None:
        """Open connections now, so that no measured request has to wait for a handshake."""
        await asyncio.gather(*(self.get("/version") for _ in range(connections)))

    async def get(self, path: str) -> Json:
        """Read an object or a list."""
        return await self._request("GET", path)

    async def create(self, path: str, body: Json) -> Json:
        """Create an object."""
        return await self._request("POST", path, body)

    async def patch(self, path: str, body: Json) -> Json:
        """Lay a merge patch over an object."""
        return await self._request("PATCH", path, body, _MERGE_PATCH)

    async def apply(self, path: str, body: Json, manager: str) -> Json:
        """Server-side apply, with force."""
        return await self._request("PATCH", path, body, _APPLY, fieldManager=manager, force="true")

    async def delete_all(self, path: str) -> None:
        """Delete every object of a collection, whatever finalizers they have."""
        await self._request("DELETE", path)
        for item in (await self.get(path))["items"]:
            await self.patch(f"{path}/{item['metadata']['name']}", {"metadata": {"finalizers": None}})

    async def watch(self, path: str, version: str) -> AsyncIterator[Json]:
        """Yield the events of a collection from a resourceVersion on, for ever.

        The API server closes the stream of a watcher that is slow for a moment; what it missed comes with the next one.

        Raises:
            ApiError: The resourceVersion is too old.
        """
        timeout = aiohttp.ClientTimeout(total=None)
        while True:
            query = {"watch": "1", "resourceVersion": version}
            async with self._session.get(path, params=query, timeout=timeout) as answer:
                async for line in answer.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(f"watch of {path}: {event['object']['message']}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    yield event

    async def _request(
        self, method: str, path: str, body: Json | None = None, content_type: str = _JSON, **query: str
    ) -> Json:
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(
            method, path, params=query, data=data, headers={"Content-Type": content_type}
        ) as answer:
            text = await answer.read()
            if answer.status >= _FAILED:
                raise ApiError(f"{method} {path}: {answer.status} {text.decode(errors='replace')[:500]}")
            return dict(json.loads(text))


def _credentials(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    return cluster["server"], context
