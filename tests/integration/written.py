"""What the operator writes, counted at the API server."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from harness import Profile
from sandbox import Cluster, Entry

AGENT: Final = "connect-autoscaler/"
POOLS: Final = "nodepools"
CLAIMS: Final = "nodeclaims"
FINALIZER: Final = "connectautoscalingprofiles"
STATUS: Final = "connectautoscalingprofiles/status"
_HELD: Final = 2.5
"""Seconds: longer than the operator holds a status back."""
_PAUSE: Final = 0.25


class Written:
    """Counts writes from its creation on, refused ones too; Kubernetes Events, which are counted apart, not.

    Args:
        cluster: Where.
        names: Of the objects that count; empty: all.
    """

    def __init__(self, cluster: Cluster, names: Iterable[str] = ()) -> None:
        self._cluster, self._names = cluster, frozenset(names)
        self._mark = cluster.audit.marker()

    @classmethod
    def about(cls, cluster: Cluster, profile: Profile) -> "Written":
        return cls(cluster, (profile.name, profile.server, profile.content))

    @property
    def entries(self) -> list[Entry]:
        """Every write, in order."""
        found = self._cluster.audit.writes(user_agent=AGENT, since=self._mark)
        return [each for each in found if each.resource != "events" and (not self._names or each.name in self._names)]

    @property
    def counts(self) -> Counter[str]:
        """Number of writes by resource, or resource/subresource."""
        return Counter("/".join(filter(None, (each.resource, each.subresource))) for each in self.entries)

    async def settled(self, done: Callable[[], object] = lambda: True, *, seconds: float = 30) -> Counter[str]:
        """Wait until something is done and no write has followed for longer than a status is held back.

        Raises:
            TimeoutError: If the writing does not end.
        """
        deadline = time.monotonic() + seconds
        before, since = self.counts, time.monotonic()
        while time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE)
            if (now := self.counts) != before or not done():
                before, since = now, time.monotonic()
            elif time.monotonic() - since > _HELD:
                return now
        raise TimeoutError(f"writes go on: {before}")
