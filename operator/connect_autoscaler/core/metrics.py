"""What monitoring is told: counters of what the operator does, and the figures of the profiles that it looks after.

Every operator has a registry of its own, so that two in one process do not clash. An event costs an increment; whatever
can be read off a status is read when somebody asks.
"""

import asyncio
import platform
import time
from collections import Counter as Counts
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from itertools import chain
from typing import Final

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from connect_autoscaler import __version__
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.status import DriftAction
from connect_autoscaler.core.listening import listening
from connect_autoscaler.core.model import Outcome, Plan, Snapshot
from connect_autoscaler.core.profile_metrics import FIGURES, PREFIX, kind_of

disable_created_metrics()  # a second series for each counter, which nobody asks for

RELEASE: Final = "Release"
"""The kind of target that is healed by upgrades."""
SUCCESS: Final = "success"
ERROR: Final = "error"
FAULT: Final = "fault"
_PASSES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_HEALS: Final = (0.001, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 30, 120, 600, 3600, 6 * 3600, 86400, 3 * 86400, 7 * 86400)
_HELM: Final = (1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_AT_ONCE: Final = 500
"""Samples that are written down without a pause: a millisecond or two."""
_NETWORK: Final = "error"
"""Instead of a code where there was no answer."""
_VERBS: Final = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class Metrics(Collector):
    """The metrics of one operator.

    Attributes:
        registry: Where they are read.
    """

    def __init__(
        self, profiles: Callable[[], Iterable[Profile]] = tuple, leading: Callable[[], bool] = lambda: True
    ) -> None:
        """Count from nothing.

        Args:
            profiles: Gives those that are looked after at the moment.
            leading: Whether this process may write.
        """
        self.registry: Final = CollectorRegistry()
        self._profiles = profiles
        self._succeeded: dict[str, float] = {}
        self._restarts: Counts[tuple[str, str]] = Counts()
        self._passes = self._counter("reconcile", "Passes over a profile.", "result")
        self._pass_duration = self._histogram(
            "reconcile_duration_seconds", "How long a pass took: gather, plan, act and report.", _PASSES
        )
        self._detected = self._counter(
            "drift_detected", "Differences that were seen for the first time.", "target_kind"
        )
        self._heals = self._counter(
            "heal", "Corrections: one write or one upgrade each, of any number of fields.", "target_kind", "result"
        )
        self._heal_duration = self._histogram(
            "heal_duration_seconds",
            "From the first sight of a difference until it was corrected.",
            _HEALS,
            "target_kind",
        )
        self._requests = self._counter(
            "api_requests",
            "Requests to the API server, but for Kopf's lists and watches; code is error where no answer came.",
            "verb",
            "resource",
            "code",
        )
        self._helm = self._counter(
            "helm_operations", "Calls of helm; result is Succeeded or a reason.", "operation", "result"
        )
        self._helm_duration = self._histogram(
            "helm_operation_duration_seconds", "How long a call of helm took.", _HELM, "operation"
        )
        self._events = self._counter("events", "Kubernetes events that were posted.", "type", "reason")
        leader = Gauge(
            PREFIX + "is_leader", "Whether this replica works: holds the Lease, or needs none.", registry=self.registry
        )
        leader.set_function(leading)
        build = Gauge(
            PREFIX + "build_info", "Always 1; what runs.", ("version", "python_version"), registry=self.registry
        )
        build.labels(__version__, platform.python_version()).set(1)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        self._begin_at_zero()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)

    def _begin_at_zero(self) -> None:
        """A counter that is born with its first event hides that event from rates."""
        for result in (SUCCESS, ERROR, FAULT):
            self._passes.labels(result)
        for kind in ("NodePool", RELEASE):
            self._detected.labels(kind)
            self._heal_duration.labels(kind)
            for result in (SUCCESS, ERROR):
                self._heals.labels(kind, result)

    def collect(self) -> Iterator[Metric]:
        """Read the profiles."""
        profiles = tuple(self._profiles())
        for figure in FIGURES:
            yield figure.of(profiles)
        last = GaugeMetricFamily(
            PREFIX + "last_success_timestamp_seconds",
            "When a pass over the profile ended without an error, in Unix time; 0: none has since the operator began.",
            labels=("profile",),
        )
        restarts = CounterMetricFamily(
            PREFIX + "server_restarts_caused",
            "Upgrades that restarted the Connect servers, by what they were for: a correction or a change of spec.",
            labels=("profile", "cause"),
        )
        for profile in profiles:
            last.add_metric((profile.name,), self._succeeded.get(profile.uid, 0))
            for cause in ("correction", "change") if profile.spec.release else ():
                restarts.add_metric((profile.name, cause), self._restarts[profile.uid, cause])
        yield last
        yield restarts

    def forget(self, profile: Profile) -> None:
        """Drop what is counted for a profile that is gone."""
        self._succeeded.pop(profile.uid, None)
        for cause in ("correction", "change"):
            self._restarts.pop((profile.uid, cause), None)

    def reconciled(self, uid: str, result: str, seconds: float) -> None:
        """Count a pass.

        Args:
            uid: Of the profile.
            result: How it ended: `SUCCESS`, `ERROR` (the API server's or the network's), `FAULT` (the operator's own).
            seconds: How long it took.
        """
        self._passes.labels(result).inc()
        self._pass_duration.observe(seconds)
        if result == SUCCESS:
            self._succeeded[uid] = time.time()

    def acted(self, snapshot: Snapshot, decided: Plan, outcome: Outcome, began: datetime, ended: datetime) -> None:
        """Count what a pass found and put right.

        Args:
            snapshot: What was seen; holds the differences that earlier passes found.
            decided: What was decided.
            outcome: What became of it.
            began: When the pass began, which is the first sight of what no earlier pass found.
            ended: When all was done.
        """
        known = snapshot.known.drift.items if snapshot.known.drift else ()
        since = {
            (item.target, item.path): item.first_seen for item in known if item.action is not DriftAction.CORRECTED
        }
        released = decided.release.findings if decided.release else ()
        for finding in chain(released, *(pool.findings for pool in decided.pools)):
            news = (finding.target, finding.difference.pointer) not in since
            if news and finding.action is not DriftAction.IGNORED:
                self._detected.labels(kind_of(finding.target)).inc()
        for action in outcome.done:
            if action.drift:
                seen = (since.get((action.target, field)) for field in action.fields)
                first = min(filter(None, seen), default=began)
                self.healed(kind_of(action.target), (ended - first).total_seconds())
        for action, _ in outcome.failed:
            if action.drift:
                self.not_healed(kind_of(action.target))

    def healed(self, kind: str, seconds: float) -> None:
        """Count a correction that worked, and the time since its cause was seen first."""
        self._heals.labels(kind, SUCCESS).inc()
        self._heal_duration.labels(kind).observe(max(seconds, 0))

    def not_healed(self, kind: str) -> None:
        """Count a correction that failed."""
        self._heals.labels(kind, ERROR).inc()

    def release_healed(self, profile: Profile, started: str, now: datetime) -> None:
        """Count an upgrade that was a correction.

        Args:
            profile: As it was when the upgrade was decided on; its status knows since when something differs.
            started: When the upgrade began.
            now: When it was deployed.
        """
        items = profile.status.drift.items if profile.status.drift else ()
        open_items = (item for item in items if item.action not in {DriftAction.CORRECTED, DriftAction.IGNORED})
        seen = (item.first_seen for item in open_items if item.first_seen and kind_of(item.target) != "NodePool")
        self.healed(RELEASE, (now - min(seen, default=datetime.fromisoformat(started))).total_seconds())

    def restarts_servers(self, profile: Profile, *, correction: bool) -> None:
        """Count an upgrade, about to begin, that restarts the servers."""
        self._restarts[profile.uid, "correction" if correction else "change"] += 1

    def requested(self, method: str, path: str, status: int) -> None:
        """Count a request to the API server.

        Args:
            method: Of HTTP, or WATCH.
            path: Without the query.
            status: Of the answer; 0: there was none.
        """
        resource, named = _resource(path)
        read = "get" if named else "list"
        verb = _VERBS.get(method) or ("watch" if method == "WATCH" else read)
        self._requests.labels(verb, resource, str(status) if status else _NETWORK).inc()

    def helm_called(self, operation: str, result: str, seconds: float) -> None:
        """Count a call of helm."""
        self._helm.labels(operation, result).inc()
        self._helm_duration.labels(operation).observe(seconds)

    def posted(self, kind: str, reason: str) -> None:
        """Count an event."""
        self._events.labels(kind, reason).inc()


def _resource(path: str) -> tuple[str, bool]:
    """The plural in a path, with its subresource, and whether the path names an object."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:  # noqa: PLR2004 - namespaces/<name>/<resource>
        parts = parts[2:]
    if not any(parts):
        return "discovery", True
    return "/".join((*parts[:1], *parts[2:3])), len(parts) > 1


class _Only(Collector):
    """A single metric, for the library to write down."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def serve(port: int, metrics: Metrics) -> AbstractAsyncContextManager[int]:
    """Serve ``/metrics``; see `listening`."""

    async def show(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
        await response.prepare(request)
        async for text in written(metrics):
            await response.write(text)
        return response

    return listening(port, [web.get("/metrics", show)])


async def written(metrics: Metrics) -> AsyncIterator[bytes]:
    """The text of a scrape in small parts: in between others have their turn, so that a heal need not wait for it.

    So two metrics may be some milliseconds apart, as two scrapes of Prometheus are anyway.
    """
    for metric in metrics.registry.collect():
        samples = metric.samples
        for start in range(0, len(samples) or 1, _AT_ONCE):
            metric.samples = samples[start : start + _AT_ONCE]
            text = generate_latest(_Only(metric))
            yield text if start == 0 else text.split(b"\n", 2)[2]  # HELP and TYPE stand once
            await asyncio.sleep(0)
