"""Gathers what the checks of placement look at: nodes are watched, the rest is surveyed now and then.

A survey is a task of its own: no pass waits for it, and its end calls for another one.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Json, Kube
from connect_autoscaler.core.release_model import ReleaseView
from connect_autoscaler.core.watch import Watch
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.placement.checks import outdated
from connect_autoscaler.placement.scene import Guest, Node, Scene, Survey

log = logging.getLogger(__name__)

_PATIENCE: Final = 5.0
_PAUSE: Final = timedelta(seconds=15)
"""Least time between two surveys, whatever changes."""
_RECENT: Final = timedelta(seconds=60)
"""Age at which a survey is too old to name what keeps idle nodes."""
_NODES: Final = 100
"""Nodes whose pods a survey looks at, at most."""
_AT_ONCE: Final = 2
"""Requests of a survey at a time: the others are for what is urgent."""
_PAGE: Final = "250"
_PAGES: Final = 20
"""Pages of one list, at most."""


class PlacementReader:
    """Follows the nodes of one profile.

    Args:
        kube: The connection.
        clock: The time.
        changed: Told of every change.
    """

    def __init__(self, kube: Kube, clock: Callable[[], datetime], changed: Callable[[], None]) -> None:
        self._kube, self._clock, self._changed = kube, clock, changed
        self._nodes: Watch[Node] | None = None
        self._pools: tuple[str, ...] = ()
        self.survey: Survey | None = None
        self._surveyed: tuple[datetime, object] | None = None
        self._task: asyncio.Task[None] | None = None
        self._idle_since: datetime | None = None

    def close(self) -> None:
        """End the watch, and the survey under way."""
        if self._task:
            self._task.cancel()
            self._surveyed = None
        self._unwatch()

    def _unwatch(self) -> None:
        if self._nodes:
            self._nodes.stop()
        self._nodes, self._pools = None, ()

    def refresh(self) -> None:
        """Survey again next time."""
        self._surveyed = None

    async def look(
        self,
        profile: Profile,
        view: ReleaseView,
        server_pools: Sequence[Json],
        content_pools: Sequence[Json],
        server_claims: Sequence[NodeClaim],
        content_claims: Sequence[NodeClaim],
    ) -> Scene:
        """Gather.

        Args:
            profile: The profile.
            view: Its release; pods come from there.
            server_pools: Live NodePools of the servers.
            content_pools: Live NodePools of content.
            server_claims: Their NodeClaims.
            content_claims: Their NodeClaims.
        """
        now = self._clock()
        pools = tuple(sorted(pool["metadata"]["name"] for pool in (*server_pools, *content_pools)))
        nodes = await self._look_at_nodes(pools)
        idle = bool(content_claims) and not any(pod.node and not pod.over for pod in view.content)
        self._idle_since = (self._idle_since or now) if idle else None
        names = {claim.node for claim in (*server_claims, *content_claims) if claim.node}
        scene = Scene(
            now=now,
            placement=profile.spec.placement,
            server_pools=server_pools,
            content_pools=content_pools,
            server_claims=server_claims,
            content_claims=content_claims,
            nodes=nodes,
            servers=view.server_pods,
            content=view.content,
            deployment=view.deployment,
            rolled_out=view.rolled_out,
            since=view.since,
            idle_since=self._idle_since,
            survey=self.survey,
        )
        self._look_around(profile, scene, view.namespace, names)
        return scene

    async def _look_at_nodes(self, pools: tuple[str, ...]) -> dict[str, Node] | None:
        if not pools:
            self._unwatch()  # a selector that allows no value is none
            return {}
        if self._nodes is None or self._pools != pools:
            self._unwatch()
            selector = f"karpenter.sh/nodepool in ({','.join(pools)})"
            self._nodes = Watch(
                self._kube, "/api/v1/nodes", Node.of, self._changed, metadata=True, labelSelector=selector
            )
            self._pools = pools
        try:
            await self._nodes.synced(_PATIENCE)
        except KubeError:
            return None
        return dict(self._nodes.items)

    def _look_around(self, profile: Profile, scene: Scene, namespace: str, names: set[str]) -> None:
        """Begin a survey if one is due."""
        if self._task:
            return
        now, facts = scene.now, (sorted(names), len(scene.servers))
        if self._surveyed is not None:
            age = now - self._surveyed[0]
            stale = age >= (_RECENT if self._idle_since else profile.spec.resync) or outdated(scene, self._surveyed[0])
            if age < _PAUSE or (self._surveyed[1] == facts and not stale):
                return
        self._surveyed = now, facts
        self._task = asyncio.create_task(self._run(namespace, sorted(names), now), name=f"survey for {profile.name}")

    async def _run(self, namespace: str, names: Sequence[str], begun: datetime) -> None:
        try:
            self.survey = replace(await self._surveying(namespace, names), begun=begun)
        except Exception as error:  # noqa: BLE001 - the last line of defence
            log.error("A survey failed by a fault of the operator: %s", type(error).__name__)  # noqa: TRY400
        finally:
            self._task = None
        self._changed()

    async def _surveying(self, namespace: str, names: Sequence[str]) -> Survey:
        """Look at the pods of these nodes, and at what may keep them."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def listed(path: str, **query: str) -> _Listed:
            async with slots:
                return await self._list(path, query)

        async with asyncio.TaskGroup() as group:
            of_nodes = [
                group.create_task(listed("/api/v1/pods", fieldSelector=f"spec.nodeName={name}"))
                for name in names[:_NODES]
            ]
            budgets = group.create_task(listed(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"))
            daemons = group.create_task(listed("/apis/apps/v1/daemonsets"))
        lists = [task.result() for task in (*of_nodes, budgets, daemons)]
        return Survey(
            guests=tuple(_present(Guest.of(pod) for task in of_nodes for pod in task.result().items)),
            budgets=tuple(budgets.result().items),
            daemons=tuple(daemons.result().items),
            complete=all(each.complete for each in lists) and len(names) <= _NODES,
            nodes=frozenset(names[:_NODES]),
        )

    async def _list(self, path: str, query: Mapping[str, str]) -> "_Listed":
        """List page by page; what is refused, or never ends, is incomplete."""
        items: list[Json] = []
        page: dict[str, str] = {}
        for _ in range(_PAGES):
            try:
                found = await self._kube.get(path, **query, limit=_PAGE, **page)
            except KubeError as error:
                log.debug("%s", error)
                return _Listed(items, complete=False)
            items += found["items"] or ()
            token = found["metadata"].get("continue")
            if not token:
                return _Listed(items, complete=True)
            page = {"continue": token}
        return _Listed(items, complete=False)


@dataclass(frozen=True)
class _Listed:
    items: list[Json]
    complete: bool


def _present(guests: Iterable[Guest | None]) -> Iterable[Guest]:
    return (guest for guest in guests if guest is not None)
