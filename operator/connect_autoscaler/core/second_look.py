"""Now and then, read what the watches should have told: ``interval`` is the backstop for an event that never came."""

import time
from typing import Final

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core.act import NODE_POOLS, PROFILES, node_claims
from connect_autoscaler.core.cache import Raw
from connect_autoscaler.core.context import Context
from connect_autoscaler.core.errors import KubeError

_SHARE: Final = 0.8
"""Part of the interval after which a look is due; passes of the interval are spread by less than the rest."""


class SecondLook:
    """Looks at one profile, its NodePools and their NodeClaims, once an interval: four requests at most as a rule."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last = time.monotonic()

    async def take(self, profile: Profile) -> None:
        """Look, if it is time; what cannot be read is left to the watches."""
        if time.monotonic() - self._last < profile.spec.resync.total_seconds() * _SHARE:
            return
        self._last = time.monotonic()
        try:
            names = sorted({pool.name for pool in profile.pools})
            for name in names:
                pool = await self._context.kube.find(f"{NODE_POOLS}/{name}")
                self._context.pools.looked(name, Raw(pool) if pool else None)
            # Its rights are to list profiles, not to get one.
            found = await self._context.kube.get(PROFILES, fieldSelector=f"metadata.name={profile.name}")
            body = next(iter(found["items"] or ()), None)
            self._context.profiles.looked(profile.name, Profile.of(body) if body else None)
            await self._at_claims(names)
        except (KubeError, AttributeError, KeyError, TypeError, ValueError):
            return

    async def _at_claims(self, pools: list[str]) -> None:
        """Look at the NodeClaims that are known: an index of Kopf's keeps one whose deletion falls into a new list."""
        known = self._context.claims.by(*(("pool", name) for name in pools))  # one that is born meanwhile is not listed
        if not known:
            return
        found = {claim.name: claim for claim in await node_claims(self._context.kube, *pools)}
        for name in known:
            self._context.claims.looked(name, found.get(name))
