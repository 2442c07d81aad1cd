"""Now and then, read what the watches should have told: ``interval`` is the backstop for an event that never came."""

import time
from typing import Final

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core.act import NODE_POOLS, PROFILES
from connect_autoscaler.core.cache import Raw
from connect_autoscaler.core.context import Context
from connect_autoscaler.core.errors import KubeError

_SHARE: Final = 0.8
"""Part of the interval after which a look is due; passes of the interval are spread by less than the rest."""


class SecondLook:
    """Looks at one profile and its NodePools, once an interval: three requests as a rule."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last = time.monotonic()

    async def take(self, profile: Profile) -> None:
        """Look, if it is time; what cannot be read is left to the watches."""
        if time.monotonic() - self._last < profile.spec.resync.total_seconds() * _SHARE:
            return
        self._last = time.monotonic()
        try:
            for name in sorted({pool.name for pool in profile.pools}):
                pool = await self._context.kube.find(f"{NODE_POOLS}/{name}")
                self._context.pools.looked(name, Raw(pool) if pool else None)
            # Its rights are to list profiles, not to get one.
            found = await self._context.kube.get(PROFILES, fieldSelector=f"metadata.name={profile.name}")
            body = next(iter(found["items"] or ()), None)
            self._context.profiles.looked(profile.name, Profile.of(body) if body else None)
        except (KubeError, ValueError):
            return
