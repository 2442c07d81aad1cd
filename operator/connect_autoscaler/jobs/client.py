"""The API of Connect, for the few questions and requests that the operator has: posit-sdk behind an async facade.

The SDK is synchronous, so calls run in two threads of their own: never more than two at a time, and a server that hangs
holds up nobody else. Of its objects only the plain requests are used: `ContentItem.render` writes to the content
first, `find_by` returns the first match alone, and its resources cost more requests than they answer questions.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlsplit

from posit.connect import Client

from connect_autoscaler.api.clipping import clip
from connect_autoscaler.jobs.errors import ConnectError, Fault, failure, fault
from connect_autoscaler.jobs.model import Content, Host, Job, Kind, QueueItem, Task, Variant
from connect_autoscaler.jobs.pace import Pace
from connect_autoscaler.jobs.transport import READ_SECONDS, TOTAL_SECONDS, Adapter, trusting

__all__ = ["Connect", "ConnectError", "Fault", "Found"]

_AT_A_TIME: Final = 2
_PAGE: Final = 500
_PAGES: Final = 20
_KEY: Final = re.compile(r"[\x21-\x7e]+")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """One step of a sweep.

    Attributes:
        content: A content item, with its schedules.
        jobs: Its active jobs and whatever began after the oldest of them; empty if none is active.
    """

    content: Content
    jobs: tuple[Job, ...]


class Connect:
    """Calls of the API, with failures as `ConnectError`.

        async with Connect(url, key, ca=certificates) as connect:
            hosts = await connect.hosts()

    Nothing is sent before the first call. A call that is cancelled goes on in its thread until its time limits end it.

    Args:
        url: Address of the server, with or without ``/__api__``.
        api_key: An administrator's; it is kept in memory alone, and sent to no other address, redirects included.
        ca: Certificate authorities in PEM to trust instead of the usual ones.
        pace: Of a sweep.
        read: Seconds between two pieces of an answer.
        total: Seconds for a whole answer.

    Raises:
        ConnectError: MISCONFIGURED, if one of these is none.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        ca: bytes | None = None,
        pace: Pace | None = None,
        read: float = READ_SECONDS,
        total: float = TOTAL_SECONDS,
    ) -> None:
        self._client = Client(url=_address(url), api_key=_key(api_key))
        adapter = Adapter(trusting(ca), read=read, total=total)
        for scheme in ("https://", "http://"):
            self._client.session.mount(scheme, adapter)
        self._pace = pace or Pace()
        self._threads = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="connect-api")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop connections, and calls that have not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.session.close()

    async def version(self) -> str | None:
        """Return the server's version, such as ``2026.08.0``; None: it keeps it to itself."""
        return await self._get("server_settings", lambda body: body.get("version") or None)

    async def hosts(self) -> tuple[Host, ...]:
        """Return the servers that checked in within the last minute."""
        return await self._get("v1/system/hosts", lambda body: tuple(map(Host.of, _items(body))), active="true")

    async def content(self) -> tuple[Content, ...]:
        """Return all content items, with their schedules."""
        return await self._get("v1/content", lambda body: tuple(map(Content.of, _items(body))), include="schedule")

    async def jobs(self, guid: str) -> tuple[Job, ...]:
        """Return all jobs of a content item.

        Raises:
            ConnectError: GONE, if there is no such item.
        """
        path = f"v1/content/{_segment(guid)}/jobs"
        return await self._get(path, lambda body: tuple(Job.of(each, guid) for each in _items(body)))

    async def variants(self, guid: str) -> tuple[Variant, ...]:
        """Return the variants of a content item; the endpoint has no version, and may go away.

        Raises:
            ConnectError: GONE, if there is no such item, or no such endpoint.
        """
        path = f"applications/{_segment(guid)}/variants"
        return await self._get(path, lambda body: tuple(map(Variant.of, _items(body))))

    async def queue(self, name: str = "default") -> tuple[QueueItem, ...]:
        """Return the items of a queue that wait or have been started; at most ten thousand are read."""
        found: dict[str, QueueItem] = {}
        for page in range(1, _PAGES + 1):
            items, total = await self._get(
                "v1/queue", _page, queue_names=name, page_number=str(page), page_size=str(_PAGE)
            )
            new = {item.id: item for item in items if item.id not in found}
            found |= new
            if not new or total is None or len(found) >= total:
                break
        return tuple(found.values())

    async def render(self, guid: str, variant_key: str) -> str:
        """Render a variant again; return the id of the task."""
        return await self._post(f"v1/content/{_segment(guid)}/render", {"variant_key": variant_key})

    async def build(self, guid: str, bundle_id: str) -> str:
        """Restore the environment of a bundle again; return the id of the task.

        The bundle is not activated: what visitors see does not change. If it is the active one, this is all that it
        lacks; else whoever publishes next finds its environment ready.
        """
        return await self._post(f"v1/content/{_segment(guid)}/build", {"bundle_id": bundle_id, "activate": False})

    async def rerun(self, job: Job) -> str:
        """Run a render or a restore again, as `recovery.decide` found right; return the id of the task.

        Raises:
            ConnectError: REFUSED as well, if the job is neither, or does not say of what.
        """
        if job.kind is Kind.RENDER and job.variant_key:
            return await self.render(job.content_guid, job.variant_key)
        if job.kind is Kind.RESTORE and job.bundle_id:
            return await self.build(job.content_guid, job.bundle_id)
        raise fault(Fault.REFUSED, f"a job {clip(job.tag, 64)} cannot be run again")

    async def task(self, task_id: str) -> Task:
        """Return what has become of a task so far."""
        return await self._get(f"v1/tasks/{_segment(task_id)}", Task.of)

    async def sweep(self) -> AsyncGenerator[Found, None]:
        """Go through all content items and their jobs, at the pace of a sweep.

        There is no list of all jobs: each item costs a request. Whoever stops early has to close the iterator
        (``contextlib.aclosing``), which ends it at once. Items that are deleted meanwhile are left out.

        Yields:
            Each content item, in the order of the API.
        """
        under_way: deque[tuple[Content, asyncio.Task[tuple[Job, ...] | None]]] = deque()
        await self._pace.turn()
        todo = deque(await self.content())
        try:
            while todo or under_way:
                while todo and len(under_way) < _AT_A_TIME:
                    await self._pace.turn()
                    item = todo.popleft()
                    under_way.append((item, asyncio.create_task(self._jobs_if_there(item.guid))))
                item, asked = under_way.popleft()
                found = await asked
                if found is not None:
                    yield Found(item, _relevant(found))
        finally:
            for _, asked in under_way:
                asked.cancel()
            await asyncio.gather(*(asked for _, asked in under_way), return_exceptions=True)

    async def _jobs_if_there(self, guid: str) -> tuple[Job, ...] | None:
        try:
            return await self.jobs(guid)
        except ConnectError as error:
            if error.fault is Fault.GONE:
                return None
            raise

    async def _get(self, path: str, read: Callable[[Any], T], **query: str) -> T:
        return await self._call(f"GET {path}", lambda: read(self._client.get(path, params=query).json()))

    async def _post(self, path: str, body: Mapping[str, Any]) -> str:
        return await self._call(f"POST {path}", lambda: _task_id(self._client.post(path, json=body).json()))

    async def _call(self, what: str, ask: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _classified, what, ask)


def _classified(what: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - whatever it is, it may hold the API key
        raised = failure(what, error)
    # Out here, and without traceback, it leads to no request: the API key ends with the error that knew it.
    raise raised.with_traceback(None)


def _address(url: str) -> str:
    """Check an address: the SDK takes an empty one from the environment."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise fault(Fault.MISCONFIGURED, "url is no address such as https://connect.example.com, without a user")
    return url.strip()


def _key(api_key: str) -> str:
    """Check a key: the SDK takes an empty one from the environment, and http.client would quote a malformed one."""
    key = api_key.strip()
    if not _KEY.fullmatch(key):
        raise fault(Fault.MISCONFIGURED, "apiKey is empty, or holds characters that no API key has")
    return key


def _segment(text: str) -> str:
    return quote(text, safe="")


def _items(body: Any) -> list[Mapping[str, Any]]:
    found = body.get("results") if isinstance(body, dict) else body
    if not isinstance(found, list):
        raise TypeError("no list")
    return found


def _page(body: Any) -> tuple[list[QueueItem], int | None]:
    total = body.get("total") if isinstance(body, dict) else None
    return [QueueItem.of(each) for each in _items(body)], total if isinstance(total, int) else None


def _task_id(body: Any) -> str:
    return str(body["task_id"] if "task_id" in body else body["id"])


def _relevant(jobs: tuple[Job, ...]) -> tuple[Job, ...]:
    """Leave out what is over and older than everything that is active: there may be thousands of it."""
    active = [job for job in jobs if job.active]
    if not active:
        return ()
    began = [job.began for job in active]
    oldest = min((time for time in began if time is not None), default=None)
    if oldest is None or None in began:
        return jobs
    return tuple(job for job in jobs if job.active or job.began is None or job.began >= oldest)
