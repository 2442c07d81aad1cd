"""Kubernetes events of a profile: one per transition, never in the way of a pass.

An event of a cluster-scoped object lives in namespace ``default`` and names it without a namespace; the API server
refuses it anywhere else, and ``kubectl describe`` finds it only there.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from connect_autoscaler.api.conditions import ConditionType
from connect_autoscaler.api.names import API_VERSION, FIELD_MANAGER, KIND
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.status import Condition, ConditionStatus, ProfileStatus, clip
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Json, Kube
from connect_autoscaler.core.model import Outcome, Verb

log = logging.getLogger(__name__)

Event = tuple[str, str, str]
"""Type (Normal or Warning), reason, note."""
_PATH: Final = "/apis/events.k8s.io/v1/namespaces/default/events"
_QUIET: Final = timedelta(minutes=10)
_BURST: Final = 25
_REFILL: Final = timedelta(minutes=5)
_ABNORMAL: Final = frozenset({ConditionType.STALLED, ConditionType.FIGHTING, ConditionType.DRIFTED})
_SILENT: Final = frozenset({ConditionType.RECONCILING, ConditionType.NODE_POOLS_READY})
"""Told by Ready already."""


def transitions(old: ProfileStatus, new: ProfileStatus) -> Iterator[Event]:
    """Events of conditions whose status or reason changed; a reason that several of them share is told once."""
    before = {c.type: (c.status, c.reason) for c in old.conditions}
    told: set[str] = set()
    for condition in new.conditions:
        quiet = condition.type in _SILENT or condition.status is ConditionStatus.UNKNOWN
        was, _ = old_state = before.get(condition.type, (None, ""))
        # That nothing has drifted is news only to those who were told of drift.
        dull = condition.type == ConditionType.DRIFTED and ConditionStatus.TRUE not in (was, condition.status)
        news = old_state != (condition.status, condition.reason)
        if news and not quiet and not dull and condition.reason not in told:
            told.add(condition.reason)
            yield _severity(condition), condition.reason, condition.message
    lost = {pool.name: pool.lost_node_claims or 0 for pool in old.node_pools}
    for pool in new.node_pools:
        if (pool.lost_node_claims or 0) > lost.get(pool.name, 0):
            yield "Warning", "NodeClaimsLost", pool.message or pool.name
    after = {c.type for c in new.conditions}
    if ConditionType.SUSPENDED in before and ConditionType.SUSPENDED not in after:
        yield "Normal", "Resumed", "Suspension has ended"


def corrections(outcome: Outcome) -> Iterator[Event]:
    """Events of what was done."""
    for action in outcome.done:
        fields = ", ".join(action.fields)
        match action.verb:
            case Verb.CREATE if action.drift:
                yield "Normal", "DriftCorrected", f"{action.target} was deleted and is back"
            case Verb.CREATE:
                yield "Normal", "NodePoolCreated", f"{action.target} created"
            case Verb.APPLY if action.drift:
                yield "Normal", "DriftCorrected", f"{action.target}: {fields} put back"
            case Verb.APPLY:
                yield "Normal", "NodePoolUpdated", f"{action.target}: {fields}"
            case Verb.RECOVER:
                yield "Warning", "NodePoolDeleted", f"{action.target} was deleted and is recovered"
            case Verb.PUBLISH:
                yield "Normal", "OverlayPublished", f"{action.target} holds the overlay"
            case Verb.RELEASE:
                yield "Normal", "NodePoolReleased", f"{action.target} is no longer managed; it stays as it is"
            case Verb.DELETE:
                yield "Normal", "NodePoolDeleted", f"{action.target} deleted, as the profile asks"


def _severity(condition: Condition) -> str:
    bad = ConditionStatus.TRUE if condition.type in _ABNORMAL else ConditionStatus.FALSE
    return "Warning" if condition.status is bad else "Normal"


class Recorder:
    """Posts events in the background, in order, each text once in a while, within a budget per profile.

    The budget is that of Kubernetes' own recorder: a burst of 25, then one in five minutes.
    """

    def __init__(self, kube: Kube, clock: Callable[[], datetime], posted: Callable[[str, str], None]) -> None:
        self._kube, self._clock, self._posted = kube, clock, posted
        self._queue: asyncio.Queue[Json] = asyncio.Queue(maxsize=1000)
        self._recent: dict[tuple[str, str, str], datetime] = {}
        self._budget: dict[str, deque[datetime]] = {}
        self._instance = os.environ.get("POD_NAME") or socket.gethostname()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to post."""
        self._task = asyncio.create_task(self._post(), name="events")

    async def stop(self) -> None:
        """Post what is queued if that is quick, then end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._queue.join()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def post(self, profile: Profile, events: Iterable[Event]) -> None:
        """Queue events about a profile."""
        for kind, reason, note in events:
            if self._allowed(profile.uid, reason, note):
                with contextlib.suppress(asyncio.QueueFull):
                    self._queue.put_nowait(self._body(profile, kind, reason, note))

    def _allowed(self, uid: str, reason: str, note: str) -> bool:
        now, key = self._clock(), (uid, reason, note)
        self._recent = {k: time for k, time in self._recent.items() if now - time < _QUIET}
        spent = self._budget.setdefault(uid, deque(maxlen=_BURST))
        exhausted = len(spent) == _BURST and now - spent[0] < _BURST * _REFILL and now - spent[-1] < _REFILL
        if key in self._recent or exhausted:
            return False
        self._recent[key] = now
        spent.append(now)
        return True

    def _body(self, profile: Profile, kind: str, reason: str, note: str) -> Json:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{profile.name}.{uuid4().hex[:16]}", "namespace": "default"},
            "regarding": {"apiVersion": API_VERSION, "kind": KIND, "name": profile.name, "uid": profile.uid},
            "type": kind,
            "reason": reason,
            "note": clip(note, 1024),
            "action": "Reconcile",
            "eventTime": self._clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": FIELD_MANAGER,
            "reportingInstance": self._instance[:128],
        }

    async def _post(self) -> None:
        while True:
            body = await self._queue.get()
            try:
                await self._kube.create(_PATH, body)
                self._posted(body["type"], body["reason"])
            except KubeError as error:
                log.warning("event %s of %s is lost: %s", body["reason"], body["regarding"]["name"], error)
            finally:
                self._queue.task_done()
