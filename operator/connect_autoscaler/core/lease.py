"""A Lease of ``coordination.k8s.io/v1``, after client-go's algorithm: of several replicas one holds it, and writes.

Clocks are never compared. The holder counts from the moment before it asked to renew, others from the moment when they
saw that it had; so the others wait longer than the holder dares to write, whatever their wall clocks say.
(``kubernetes.aio`` has a leader election, too. It goes by wall clocks, gives nothing back at its end, and goes on
renewing when what it leads has died.)
"""

import asyncio
import contextlib
import logging
import math
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.kube import Json, Kube

log = logging.getLogger(__name__)

NAME: Final = "connect-autoscaler"
"""Of the Lease, unless another one is given."""
_BREATH: Final = 0.05


@dataclass(frozen=True, slots=True)
class Terms:
    """Times in seconds; the defaults are client-go's, but for `look`."""

    duration: float = 15
    """How long others leave the Lease alone after they saw it renewed."""
    deadline: float = 10
    """How long the holder writes after it asked for the last renewal that succeeded."""
    renew: float = 2
    look: float = 1
    """Between two looks of a replica that stands by."""


class LeaseLostError(Exception):
    """The Lease is not this process's any more; the text is a sentence for the log."""


class Lease:
    """One replica's view of the Lease.

    Args:
        kube: A connection of its own, so that no storm of other requests holds up a renewal. It should give a request
            up after half of the deadline.
        namespace: Where it is.
        name: Its name.
        terms: Times.

    Attributes:
        what: Names the Lease in sentences.
        identity: Names this process in it, as client-go does: host, and something random.
        renewed: Told after each renewal how many seconds are left.
    """

    def __init__(self, kube: Kube, namespace: str, name: str = NAME, terms: Terms | None = None) -> None:
        self._kube, self._terms = kube, terms or Terms()
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self.what: Final = f"Lease {namespace}/{name}"
        self.identity: Final = f"{socket.gethostname()}_{uuid.uuid4()}"
        self.renewed: Callable[[float], None] = lambda _: None
        self._mine: Json | None = None  # as this process wrote it last
        self._until = self._looked = self._seen_at = -math.inf
        self._seen: Json = {}
        self._said = ""

    @property
    def held(self) -> bool:
        """Whether this process may write."""
        return now() < self._until

    @property
    def standing_by(self) -> bool:
        """Whether another process holds the Lease, so far as this one has seen lately."""
        return not self.held and now() - self._looked < self._terms.duration

    @property
    def holder(self) -> str:
        """Who holds the Lease, as last seen; empty: nobody."""
        return str(self._seen.get("holderIdentity") or "")

    def guard(self) -> None:
        """Called right before each write.

        Raises:
            KubeError: The Lease is not held, so nothing may be written.
        """
        if not self.held:
            raise KubeError(0, Reason.API_UNAVAILABLE, f"nothing is written without {self.what}", Retry.SOON)

    async def acquire(self) -> None:
        """Wait until this process holds the Lease."""
        while True:
            pause = self._terms.look
            try:
                if await self._attempt():
                    log.info("%s is held by this process: %s", self.what, self.identity)
                    return
                self._say(logging.INFO, f"standing by: {self.what} is held by {self.holder}")
                pause = min(pause, max(self._free_at - now(), _BREATH))
            except KubeError as error:
                self._say(logging.WARNING, f"{self.what} cannot be taken: {error}")
            await asyncio.sleep(pause)

    async def keep(self, healthy: Callable[[], bool]) -> None:
        """Renew for ever.

        Args:
            healthy: Whether this process does what it holds the Lease for; if not, it is left to another one.

        Raises:
            LeaseLostError: It was not renewed in time, or somebody else holds it.
        """
        failure = stuck = "passes have ceased to finish"
        while True:
            try:
                async with asyncio.timeout(self._until - now()):
                    await asyncio.sleep(self._terms.renew)
                    if healthy() and not await self._attempt():
                        self._until = -math.inf
                        raise LeaseLostError(f"{self.what} is held by {self.holder}")
                failure = stuck
            except KubeError as error:
                failure = str(error)
            except TimeoutError:
                raise LeaseLostError(f"{self.what} was not renewed for {self._terms.deadline:g} s: {failure}") from None

    async def release(self) -> None:
        """Give the Lease back, so that another replica need not wait; writes end here."""
        held, self._until = self.held, -math.inf
        if held and self._mine:
            with contextlib.suppress(KubeError):  # then the others have to wait
                await self._put(self._mine, {**self._mine["spec"], "holderIdentity": "", "leaseDurationSeconds": 1})
        self._mine = None

    @property
    def _free_at(self) -> float:
        duration = self._seen.get("leaseDurationSeconds") or self._terms.duration
        return self._seen_at + duration if self.holder not in {"", self.identity} else -math.inf

    async def _attempt(self) -> bool:
        """Take or renew the Lease, unless it is another's."""
        began = now()
        known, self._mine = self._mine, None
        live = known or await self._read()
        if live is not None:
            self._observe(live)
        if now() < self._free_at:  # also if it was deleted: its holder does not know that yet
            return False
        self._mine = await self._take(live)
        self._observe(self._mine)
        self._until = began + self._terms.deadline
        self.renewed(self._until - now())
        return True

    async def _read(self) -> Json | None:
        try:
            return await self._kube.get(f"{self._leases}/{self._name}")
        except KubeError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _observe(self, live: Json) -> None:
        """Note when it changed, by the clock of this process; other's writes beside the spec are no renewal."""
        self._looked = now()
        if (spec := live.get("spec") or {}) != self._seen:
            self._seen, self._seen_at = spec, self._looked

    async def _take(self, live: Json | None) -> Json:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (live or {}).get("spec") or {}
        mine = before.get("holderIdentity") == self.identity
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._terms.duration),
            "acquireTime": before["acquireTime"] if mine else moment,
            "renewTime": moment,
            "leaseTransitions": (before.get("leaseTransitions") or 0) + (live is not None and not mine),
        }
        if live is not None:
            return await self._put(live, spec)
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        return await self._kube.create(self._leases, {**kind, "metadata": {"name": self._name}, "spec": spec})

    async def _put(self, live: Json, spec: Json) -> Json:
        """Write, unless somebody else was faster."""
        version = {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]}
        return await self._kube.patch(
            f"{self._leases}/{self._name}", [version, {"op": "add", "path": "/spec", "value": spec}]
        )

    def _say(self, level: int, text: str) -> None:
        """Log what is new."""
        if text != self._said:
            log.log(level, "%s", text)
            self._said = text


def now() -> float:
    """Seconds on a clock that nobody sets; on Linux one that goes on while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)
