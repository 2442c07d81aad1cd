"""A small watch of one list in one namespace, for kinds that Kopf must not watch cluster-wide (Secrets above all).

List, then follow; after any error, and every few minutes, list again. The list is complete, or some seconds old, while
`Watch.error` is None.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.kube import Kube

log = logging.getLogger(__name__)

METADATA: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
"""Media type (with ``List`` or nothing in the braces) of objects without their content."""
_JSON: Final = "application/json"
_BACKOFF: Final = (0.2, 0.5, 1, 2, 5, 10, 30)
_PASSING: Final = 5
"""Failures in a row, some ten seconds, until the list counts as lost."""
_SHORT: Final = 1.0
_ROUND: Final = 240
"""Seconds after which the API server is asked to end a stream."""

V = TypeVar("V")


class Watch(Generic[V]):
    """What one list holds, followed in a task of its own.

    Args:
        kube: The connection.
        path: Of the list.
        keep: Gives what is to be remembered of an object; None: nothing.
        changed: Told after every change, and after every error.
        metadata: Ask for metadata only.
        query: Selectors.
    """

    def __init__(
        self,
        kube: Kube,
        path: str,
        keep: Callable[[dict[str, Any]], V | None],
        changed: Callable[[], None],
        *,
        metadata: bool = False,
        **query: str,
    ) -> None:
        self._kube, self._path, self._keep, self._changed, self._query = kube, path, keep, changed, query
        self._list_as = METADATA.format("List") if metadata else _JSON
        self._watch_as = METADATA.format("") if metadata else _JSON
        self._synced = asyncio.Event()
        self.items: dict[str, V] = {}
        self.error: KubeError | None = None
        self._task = asyncio.create_task(self._run(), name=f"watch {path}")

    async def synced(self, seconds: float) -> None:
        """Wait for the first list.

        Raises:
            KubeError: It could not be had, or not in time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._synced.wait()
        if self.error is not None:
            raise self.error
        if not self._synced.is_set():
            raise KubeError.unreachable(f"LIST {self._path}", TimeoutError())

    def stop(self) -> None:
        """End it."""
        self._task.cancel()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                version, listed = await self._list(), time.monotonic()
                while True:
                    began = time.monotonic()
                    version = await self._follow(version)
                    if time.monotonic() - began < _SHORT:
                        await asyncio.sleep(_SHORT)  # somebody ends streams at once
                    failures = 0
                    if time.monotonic() - listed > _ROUND / 2:
                        break  # an event may never have come
            except KubeError as error:
                failures += error.status != HTTPStatus.GONE
                self._fail(error, failures)
            except Exception:
                # The last line of defence: a fault of ours must not leave a list that looks complete.
                failures += 1
                log.exception("watch of %s failed", self._path)
                fault = f"The operator failed to follow {self._path}; its log has the details"
                self._fail(KubeError(0, Reason.INTERNAL_ERROR, fault, Retry.LATER), failures)
            delay = _BACKOFF[min(max(failures, 1), len(_BACKOFF)) - 1]
            await asyncio.sleep(delay * random.uniform(1.0, 1.2))  # noqa: S311

    def _fail(self, error: KubeError, failures: int) -> None:
        """Say so, if it is more than a stream that broke off: the list as it was last is good for some seconds."""
        log.debug("%s", error)
        if failures and (error.retry is not Retry.SOON or failures >= _PASSING or not self._synced.is_set()):
            self.error = error
            self._synced.set()
            self._changed()

    async def _list(self) -> str:
        found = await self._kube.get(self._path, self._list_as, **self._query)
        kept = {body["metadata"]["name"]: self._keep(body) for body in found["items"] or ()}
        self.items = {name: value for name, value in kept.items() if value is not None}
        self.error = None
        self._synced.set()
        self._changed()
        return str(found["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> str:
        query = {
            **self._query,
            "resourceVersion": version,
            "timeoutSeconds": str(_ROUND),
            "allowWatchBookmarks": "true",
        }
        async for event in self._kube.stream(self._path, self._watch_as, **query):
            body = event["object"]
            version = body["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            name = body["metadata"]["name"]
            value = None if event["type"] == "DELETED" else self._keep(body)
            before = self.items.pop(name, None)
            if value is not None:
                self.items[name] = value
            if value != before:
                self._changed()
        return version
