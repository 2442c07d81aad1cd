"""What long work on a release is done with, and what it is done for."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import Release
from connect_autoscaler.core.release_reader import Pools
from connect_autoscaler.release.charts import Charts
from connect_autoscaler.release.helm import Access, Helm
from connect_autoscaler.release.state import Holder, State

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
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

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
    corrects: str | None = None
    """Whose change an upgrade undoes."""
