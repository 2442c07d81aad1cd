"""Gathers what the checks of placement look at: nodes are watched, the rest is surveyed now and then."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Json, Kube
from connect_autoscaler.core.release_model import ReleaseView
from connect_autoscaler.core.watch import Watch
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.placement.scene import Guest, Node, Scene, Survey

_PATIENCE: Final = 5.0
_PAUSE: Final = timedelta(seconds=15)
"""Least time between two surveys, whatever changes."""
_RECENT: Final = timedelta(seconds=60)
"""Age at which a survey is too old to name what keeps idle nodes."""
_NODES: Final = 100
_PODS: Final = "250"


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
        self._survey: Survey | None = None
        self._surveyed: tuple[datetime, object] | None = None
        self._idle_since: datetime | None = None

    def close(self) -> None:
        """End the watch."""
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
        await self._look_around(profile, view, names, now)
        return Scene(
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
            survey=self._survey,
        )

    async def _look_at_nodes(self, pools: tuple[str, ...]) -> dict[str, Node] | None:
        if self._nodes is None or self._pools != pools:
            self.close()
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

    async def _look_around(self, profile: Profile, view: ReleaseView, names: set[str], now: datetime) -> None:
        facts = sorted(names), len(view.server_pods)
        if self._surveyed is not None:
            age = now - self._surveyed[0]
            stale = age >= (_RECENT if self._idle_since else profile.spec.resync)
            if age < _PAUSE or (self._surveyed[1] == facts and not stale):
                return
        self._surveyed = now, facts
        refused: list[KubeError] = []

        async def listed(path: str, **query: str) -> list[Json]:
            try:
                found = await self._kube.get(path, **query)
            except KubeError as error:
                refused.append(error)
                return []
            return list(found["items"] or ())

        pods: list[Any] = []
        for name in sorted(names)[:_NODES]:
            pods += await listed("/api/v1/pods", fieldSelector=f"spec.nodeName={name}", limit=_PODS)
        budgets = await listed(f"/apis/policy/v1/namespaces/{view.namespace}/poddisruptionbudgets")
        daemons = await listed("/apis/apps/v1/daemonsets")
        self._survey = Survey(
            guests=tuple(_present(map(Guest.of, pods))),
            budgets=tuple(budgets),
            daemons=tuple(daemons),
            complete=not refused and len(names) <= _NODES,
        )


def _present(guests: Iterable[Guest | None]) -> Iterable[Guest]:
    return (guest for guest in guests if guest is not None)
