"""What long work on a release is done with, and what it is done for."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import Release
from connect_autoscaler.core.digest import digest
from connect_autoscaler.core.metrics import Metrics
from connect_autoscaler.core.release_model import Phase
from connect_autoscaler.core.release_reader import Pools
from connect_autoscaler.core.requests import requested_at
from connect_autoscaler.release.charts import Charts
from connect_autoscaler.release.helm import Access, Helm
from connect_autoscaler.release.history import Entry
from connect_autoscaler.release.state import Holder, State
from connect_autoscaler.release.values import Json

_AT_ONCE: Final = 2


@dataclass(frozen=True)
class Toolbox:
    """What all releases of an operator share."""

    helm: Helm
    charts: Charts
    holder: Holder
    kubeconfig: str | None = None
    context: str | None = None
    namespaces: frozenset[str] | None = None
    """Namespaces whose releases are served; None: all that the operator's rights allow."""
    account_required: bool = False
    """Whether a profile must name a ServiceAccount to impersonate."""
    elected: bool = False
    """Whether this process works by virtue of a Lease."""
    metrics: Metrics = field(default_factory=Metrics)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    """For what runs helm upgrade or rollback."""
    proofs: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """For dry runs: they are short, and must not wait for upgrades, which are not."""
    living: set[str] = field(default_factory=set)
    """Upgrades of this process that helm may be at work on."""
    locks: defaultdict[tuple[str, str], asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """By namespace and name of a release."""

    def taken(self, release: tuple[str, str]) -> bool:
        """Whether an upgrade of a release would have to wait for its turn."""
        return self.slots.locked() or self.locks[release].locked()

    @contextlib.asynccontextmanager
    async def turn(self, release: tuple[str, str], phase: Phase) -> AsyncIterator[None]:
        """Wait until work may go on: one upgrade of a release at a time, and two of all."""
        if phase is Phase.PREPARING:
            async with self.proofs:
                yield
        elif phase is Phase.SETTLING:
            async with self.locks[release]:
                yield
        else:
            async with self.locks[release], self.slots:
                yield

    @contextlib.contextmanager
    def alive(self, attempt: str) -> Iterator[None]:
        """Know an upgrade as living: nobody may undo its lock meanwhile."""
        self.living.add(attempt)
        try:
            yield
        finally:
            self.living.discard(attempt)

    def access(self, release: Release) -> Access:
        """How helm gets to the API server for a release."""
        user = release.service_account_name
        full = f"system:serviceaccount:{release.namespace}:{user}" if user else None
        return Access(self.kubeconfig, self.context, full)


@dataclass(frozen=True)
class Job:
    """What long work is done for."""

    profile: Profile
    release: Release
    state: State | None
    server_pools: Pools
    content_pools: Pools
    wanted: bool
    key: str
    """Names what is prepared, and what it is for."""
    live: bool = False
    """Whether live objects differ, so that those have to be looked at which the values leave as they are."""
    restarts: bool = False
    """Whether an upgrade restarts the servers, as was announced."""
    corrects: str | None = None
    """Whose change an upgrade undoes."""
    allowed: Callable[[], bool] = lambda: True
    """Whether it would be begun at this moment still: asked right before helm starts, which may be long after."""


def upgrade_key(profile: Profile, deployed: Entry, wanted: Json) -> str:
    """Name what is wanted on which revision, and for which state of the profile."""
    return digest([deployed.uid, deployed.version, wanted, (profile.generation, requested_at(profile))])
