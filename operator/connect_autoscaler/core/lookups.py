"""Look-ups outside the watched kinds: the NodePool CRD and NodeClasses, remembered for a while.

Both change rarely and announce themselves through NodePool conditions, so they are read when a profile's spec is new,
on resync, while something is missing, and on request; never on the path of a heal.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.names import NODEPOOL_CRD
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.kube import Json, Kube
from connect_autoscaler.nodepools.karpenter import Karpenter

KEEP: Final = timedelta(minutes=5)
KEEP_MISSING: Final = timedelta(seconds=5)
Ref = tuple[str, str, str]


class Lookups:
    """Shared by all profiles of an operator."""

    def __init__(self, kube: Kube, clock: Callable[[], datetime]) -> None:
        self._kube, self._clock = kube, clock
        self._karpenter: tuple[datetime, Karpenter | None] | None = None
        self._classes: dict[Ref, tuple[datetime, Problem | None]] = {}
        self._plurals: dict[tuple[str, str], str] = {}
        self._silent: datetime | None = None
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Look everything up afresh."""
        self._karpenter = self._silent = None
        self._classes.clear()
        self._plurals.clear()

    async def karpenter(self) -> Karpenter | None:
        """Abilities of the installed Karpenter; None if its NodePool CRD does not exist."""
        async with self._lock:
            known = self._karpenter
            if known is None or self._old(known[0], missing=not (known[1] and known[1].supported)):
                try:
                    crd = await self._find(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NODEPOOL_CRD}")
                except KubeError as error:
                    self._note(error)
                    if known is None:
                        raise
                    return known[1]
                known = self._karpenter = self._clock(), Karpenter.from_crd(crd) if crd else None
            return known[1]

    async def node_class(self, ref: Ref) -> Problem | None:
        """What is wrong with a NodeClass; None if it exists."""
        async with self._lock:
            known = self._classes.get(ref)
            if known is None or self._old(known[0], missing=known[1] is not None):
                try:
                    known = self._classes[ref] = self._clock(), await self._look_up(ref)
                except KubeError as error:
                    self._note(error)
                    # Heals must not wait for this; Karpenter itself tells of a missing class on the pool.
                    if error.reason is Reason.FORBIDDEN:
                        known = self._classes[ref] = self._clock(), None
                    elif known is None and error.retry is Retry.SOON:
                        raise
            return known[1] if known else None

    def _old(self, read: datetime, *, missing: bool) -> bool:
        now = self._clock()
        if self._silent and timedelta() <= now - self._silent < KEEP_MISSING:
            return False
        return now - read >= (KEEP_MISSING if missing else KEEP)

    def _note(self, error: KubeError) -> None:
        """Remember that nobody answered: to wait for that at each look-up of each profile would take many minutes."""
        if not error.status:
            self._silent = self._clock()

    async def _look_up(self, ref: Ref) -> Problem | None:
        group, kind, name = ref
        collection = await self._collection(group, kind)
        if collection is None:
            return Problem(
                Reason.NODE_CLASS_NOT_FOUND,
                f"The cluster knows no {kind} in API group {group}; correct nodeClassRef, or install the provider",
                stalled=False,
            )
        if await self._find(f"{collection}/{name}") is None:
            return Problem(
                Reason.NODE_CLASS_NOT_FOUND,
                f"{kind}.{group} {name} does not exist; create it, or correct nodeClassRef.name",
                stalled=False,
            )
        return None

    async def _collection(self, group: str, kind: str) -> str | None:
        """Path of the kind, by discovery: providers are free in their plurals and versions."""
        if (group, kind) not in self._plurals:
            found = await self._find(f"/apis/{group}")
            if found is None:
                return None
            version = found["preferredVersion"]["groupVersion"]
            resources = (await self._kube.get(f"/apis/{version}"))["resources"]
            plural = next((r["name"] for r in resources if r["kind"] == kind and "/" not in r["name"]), None)
            if plural is None:
                return None
            self._plurals[group, kind] = f"/apis/{version}/{plural}"
        return self._plurals[group, kind]

    async def _find(self, path: str) -> Json | None:
        try:
            return await self._kube.get(path)
        except KubeError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
