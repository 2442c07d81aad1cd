"""One profile's dealings with the Connect API: what a restart would disturb, and jobs that lost their server.

Everything here is a child task: a Connect that is down or slow costs a pass nothing.
"""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import Recovery
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.events import Event
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.release_model import JobsView, ReleaseView
from connect_autoscaler.core.release_store import Store
from connect_autoscaler.jobs.client import Connect, ConnectError
from connect_autoscaler.jobs.model import Content, Job, Kind, KubeJob, Variant
from connect_autoscaler.jobs.orphans import GRACE, Orphan, orphans
from connect_autoscaler.jobs.quiescence import candidates, quiescence
from connect_autoscaler.jobs.recovery import Action, Decision, Known, decide
from connect_autoscaler.release.state import State

log = logging.getLogger(__name__)

_FRESH: Final = timedelta(seconds=15)
"""How long an answer about what runs holds."""
_RETRY: Final = timedelta(seconds=30)
_AGAIN: Final = timedelta(minutes=15)
"""Between two sweeps while orphans are left."""
_SLACK: Final = timedelta(seconds=30)
_OPEN: Final = timedelta(minutes=5)
"""How long a connection is used before its Secret is read again."""
_ASKED: Final = 50
"""Contents that are asked about what runs, at most."""


def busy(view: ReleaseView, jobs: JobsView | None) -> ReleaseView:
    """The release with what the API says of content in place of what pods alone say; nothing known is not idle."""
    if jobs is None:
        return view
    if jobs.quiescence is not None:
        holding, interactive = jobs.quiescence.holding, jobs.quiescence.interactive
        told = {*interactive, *(hold.name for hold in holding)}
        # What has started since the answer is not known to be harmless.
        return replace(view, busy=(*map(str, holding), *(name for name in view.busy if name not in told)))
    unknown = jobs.problem.message if jobs.problem else "Connect has not answered yet"
    return replace(view, busy=view.busy or (unknown,))


class JobsKeeper:
    """Asks the Connect API on behalf of one profile.

    Args:
        kube: The connection to Kubernetes.
        clock: The time.
        changed: Told of every answer.
        tell: Posts events.
    """

    def __init__(
        self, kube: Kube, clock: Callable[[], datetime], changed: Callable[[], None], tell: Callable[[Event], None]
    ) -> None:
        self._kube, self._clock, self._changed, self._tell = kube, clock, changed, tell
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._connect: tuple[Connect, datetime, object] | None = None
        self._servers: frozenset[str] = frozenset()
        self._sweep_due: datetime | None = None
        self._asked: datetime | None = None
        self._view = JobsView()

    def look(self, profile: Profile, view: ReleaseView, store: Store | None, *, pending: bool) -> JobsView | None:
        """What is known; asks in the background for what is due.

        Args:
            profile: The profile.
            view: Its release.
            store: Remembers what was run again.
            pending: Whether a restart waits for nothing to be under way.

        Returns:
            None, if the profile has no access to the API.
        """
        if profile.spec.connect_api is None or view.facts is None or store is None:
            self.close()
            return None
        now = self._clock()
        alive = frozenset(pod.uid for pod in view.server_pods if not pod.terminating and not pod.over)
        if self._sweep_due is None and not self._servers:
            self._sweep_due = now  # nobody knows what happened while the operator was not there
        elif self._servers - alive:
            self._sweep_due = now + GRACE + _SLACK
        self._servers = alive or self._servers
        if pending and (self._asked is None or now - self._asked > _FRESH):
            self._start("quiescence", self._ask(profile, view))
        elif not pending:
            self._view = replace(self._view, quiescence=None)
        if self._sweep_due is not None and self._sweep_due <= now:
            self._start("sweep", self._sweep(profile, view, store))
        fresh = self._asked is not None and now - self._asked <= 2 * _FRESH
        return self._view if fresh else replace(self._view, quiescence=None)

    @property
    def due(self) -> datetime | None:
        """When time alone calls for another look; None: never, or not before the sweep under way has ended."""
        return None if "sweep" in self._tasks else self._sweep_due

    def close(self) -> None:
        """End everything."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self._drop()
        self._view, self._servers, self._sweep_due, self._asked = JobsView(), frozenset(), None, None

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if name in self._tasks:
            work.close()
            return
        self._tasks[name] = asyncio.create_task(self._run(name, work), name=f"connect api: {name}")

    async def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ConnectError as error:
            self._fail(Reason.CONNECT_API, error.message)
        except KubeError as error:
            self._fail(error.reason, error.message)
        except Exception:
            # The last line of defence: what the API told is not logged, only where it was not understood.
            log.exception("Connect API: %s failed by a fault of the operator", name)
            self._fail(Reason.INTERNAL_ERROR, "The operator failed; its log has the details, please report it")
        finally:
            self._tasks.pop(name, None)
            self._changed()

    def _fail(self, reason: Reason, message: str) -> None:
        log.info("Connect API: %s", message)
        self._drop()
        now = self._clock()
        self._view = replace(self._view, problem=Problem(reason, message, stalled=False), quiescence=None)
        self._asked = now
        if self._sweep_due is not None and self._sweep_due <= now:
            self._sweep_due = now + _RETRY

    def _drop(self) -> None:
        if self._connect:
            self._connect[0].close()
        self._connect = None

    async def _open(self, profile: Profile, view: ReleaseView) -> Connect:
        """The connection for quick questions, with the key as the Secret had it some minutes ago at most."""
        assert profile.spec.connect_api is not None  # noqa: S101 - the caller has seen to it
        name, now = profile.spec.connect_api.secret_name, self._clock()
        if self._connect and self._connect[1] > now and self._connect[2] == name:
            return self._connect[0]
        self._drop()
        connect = await self._new(view, name)
        self._connect = connect, now + _OPEN, name
        return connect

    async def _new(self, view: ReleaseView, name: str) -> Connect:
        """Connect.

        Raises:
            ConnectError: The Secret is not as it has to be.
            KubeError: It cannot be read.
        """
        secret = await self._kube.get(f"/api/v1/namespaces/{view.namespace}/secrets/{name}")
        data = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
        url = data["url"].decode(errors="replace") if "url" in data else view.facts.service if view.facts else None
        return Connect(url or "", data.get("apiKey", b"").decode(errors="replace"), ca=data.get("ca.crt"))

    async def _ask(self, profile: Profile, view: ReleaseView) -> None:
        """Ask what a restart would disturb: the queue, and what runs, never about everything."""
        connect = await self._open(profile, view)
        running = [pod.name for pod in view.content if not pod.over]
        queue = await connect.queue()
        jobs: list[Job] = []
        if running:
            for guid in candidates(running, await connect.content())[:_ASKED]:
                jobs += await connect.jobs(guid)
        found = quiescence(running, queue, [job for job in jobs if job.active])
        self._asked = self._clock()
        self._view = replace(self._view, problem=None, quiescence=found)

    async def _sweep(self, profile: Profile, view: ReleaseView, store: Store) -> None:
        """Look at every content item for jobs without a server, and run again what may be."""
        assert profile.spec.connect_api is not None  # noqa: S101 - the caller has seen to it
        begun, due = self._clock(), self._sweep_due
        # A connection of its own: that for quick questions is dropped whenever one of them fails.
        async with await self._new(view, profile.spec.connect_api.secret_name) as connect:
            again = await self._swept(profile, view, store, connect)
        if self._sweep_due == due or self._sweep_due is None or self._sweep_due <= begun:
            self._sweep_due = again

    async def _swept(self, profile: Profile, view: ReleaseView, store: Store, connect: Connect) -> datetime | None:
        """Sweep once; tell when to sweep again, None: when a server goes."""
        contents: dict[str, Content] = {}
        jobs: list[Job] = []
        async with aclosing(connect.sweep()) as steps:
            async for step in steps:
                contents[step.content.guid] = step.content
                jobs += step.jobs
        hosts = await connect.hosts()
        assert view.facts is not None  # noqa: S101 - the caller has seen to it
        listed = await self._kube.get(f"/apis/batch/v1/namespaces/{view.facts.content_namespace}/jobs")
        lost = orphans(jobs, hosts, map(KubeJob.of, listed["items"] or ()), self._clock())
        state = await store.load() or State.new()
        known = Known(
            jobs=jobs,
            queue=await connect.queue() if lost else (),
            contents=contents,
            variants=await self._variants(connect, lost),
            tried=[key for key, _ in state.reruns],
            reruns=[datetime.fromisoformat(time) for _, time in state.reruns],
        )
        # Interactive content starts again with its next visit: nothing is lost that anybody could mend.
        lost = tuple(orphan for orphan in lost if orphan.job.kind is not Kind.INTERACTIVE)
        recovery = profile.spec.recovery if profile.spec.may_write else Recovery()
        decisions = decide(lost, known, recovery, self._clock())
        self._announce(decisions)
        for decision in decisions:
            if decision.action is Action.RERUN:
                await self._rerun(connect, store, decision)
        pinned = sum(bool(content.min_processes) for content in contents.values())
        self._view = replace(self._view, problem=None, decisions=decisions, pinned=pinned)
        serving = {host.hostname for host in hosts}
        if any(job.active and job.hostname and job.hostname not in serving for job in jobs):
            return self._clock() + (_AGAIN if decisions else GRACE + _SLACK)  # too young to be called orphans
        return None

    async def _variants(self, connect: Connect, lost: tuple[Orphan, ...]) -> dict[str, tuple[Variant, ...]]:
        found = {}
        for guid in {orphan.job.content_guid for orphan in lost if orphan.job.kind is Kind.RENDER}:
            with contextlib.suppress(ConnectError):  # without them nothing of it is rendered again
                found[guid] = await connect.variants(guid)
        return found

    async def _rerun(self, connect: Connect, store: Store, decision: Decision) -> None:
        """Run a job again, once: that it was tried is remembered before it is asked for."""
        job = decision.job
        await store.update(lambda known: known.rerun(job.key, self._clock()))
        await connect.rerun(job)
        self._tell(("Normal", "JobRerun", f"Content {job.content_guid}: {decision.why.explain}"))

    def _announce(self, decisions: tuple[Decision, ...]) -> None:
        known = {decision.job.key for decision in self._view.decisions}
        for decision in decisions:
            if decision.job.key not in known:
                job = decision.job
                note = f"Job {job.key} of content {job.content_guid} ({job.tag}) lost its server {job.hostname}"
                self._tell(("Warning", "JobOrphaned", f"{note}. {decision.why.explain}"))
