"""Everything that checks and limitations look at, as it is at one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from connect_autoscaler.api.names import LABEL_CAPACITY_TYPE, LABEL_NODEPOOL
from connect_autoscaler.api.placement import Placement
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.release.overlay import DO_NOT_DISRUPT
from connect_autoscaler.release.pods import OVER, Pod

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """What its metadata tells of a node."""

    name: str
    pool: str
    capacity: str
    labels: Mapping[str, str]
    terminating: bool

    @classmethod
    def of(cls, body: Json) -> Self:
        """Read the metadata of a node."""
        meta = body["metadata"]
        labels = meta.get("labels", {})
        return cls(
            meta["name"],
            labels.get(LABEL_NODEPOOL, ""),
            labels.get(LABEL_CAPACITY_TYPE, ""),
            labels,
            "deletionTimestamp" in meta,
        )


@dataclass(frozen=True, slots=True)
class Guest:
    """Any pod on a node of the profile's pools, as far as it may keep that node."""

    namespace: str
    name: str
    uid: str
    node: str
    protected: bool
    """Whether it carries Karpenter's do-not-disrupt annotation."""
    daemon: bool
    """Whether it goes with its node: of a DaemonSet, or the node's own."""
    labels: Mapping[str, str]

    @classmethod
    def of(cls, body: Json) -> Self | None:
        """Read a pod; None if it has ended or goes."""
        meta = body["metadata"]
        if "deletionTimestamp" in meta or body.get("status", {}).get("phase") in OVER:
            return None
        owners = {owner["kind"] for owner in meta.get("ownerReferences", ())}
        return cls(
            meta["namespace"],
            meta["name"],
            meta["uid"],
            body["spec"].get("nodeName", ""),
            DO_NOT_DISRUPT in meta.get("annotations", {}),
            bool(owners & {"DaemonSet", "Node"}),
            meta.get("labels", {}),
        )


@dataclass(frozen=True)
class Survey:
    """What is looked up now and then, since nobody would want to watch it."""

    guests: tuple[Guest, ...] = ()
    nodes: frozenset[str] = frozenset()
    """Nodes whose guests these are."""
    budgets: tuple[Json, ...] = ()
    """PodDisruptionBudgets of the release's namespace."""
    daemons: tuple[Json, ...] = ()
    """Every DaemonSet."""
    complete: bool = True
    """Whether nothing was refused."""
    begun: datetime | None = None
    """None: just now."""


@dataclass(frozen=True)
class Scene:
    """One moment."""

    now: datetime
    placement: Placement
    server_pools: Sequence[Json]
    """Live NodePools of the servers."""
    content_pools: Sequence[Json]
    server_claims: Sequence[NodeClaim]
    content_claims: Sequence[NodeClaim]
    nodes: Mapping[str, Node] | None
    """Nodes of the profile's pools by name; None: they could not be seen."""
    servers: Sequence[Pod]
    content: Sequence[Pod]
    deployment: Json
    """Live Deployment of the servers; empty: there is none."""
    rolled_out: bool
    since: datetime | None
    """When servers with the overlay came up; None: none runs with it."""
    idle_since: datetime | None
    """Since when no content runs although the content pools have nodes."""
    survey: Survey | None = field(default=None, repr=False)
    """None: not looked up yet."""

    @property
    def running_servers(self) -> tuple[Pod, ...]:
        """Servers that have a node, and are not going."""
        return tuple(pod for pod in self.servers if pod.node and not pod.over and not pod.terminating)

    @property
    def running_content(self) -> tuple[Pod, ...]:
        """Content that has a node, and is not going."""
        return tuple(pod for pod in self.content if pod.node and not pod.over and not pod.terminating)

    def names(self, pools: Sequence[Json]) -> tuple[str, ...]:
        """Names of pools."""
        return tuple(pool["metadata"]["name"] for pool in pools)

    @property
    def foreign(self) -> tuple[Guest, ...]:
        """Guests that are neither Connect's nor the nodes' own, sorted."""
        own = {pod.uid for pod in (*self.servers, *self.content)}
        guests = self.survey.guests if self.survey else ()
        strangers = (guest for guest in guests if not guest.daemon and guest.uid not in own)
        return tuple(sorted(strangers, key=lambda guest: (guest.namespace, guest.name)))

    def empty(self, claims: Sequence[NodeClaim]) -> int | None:
        """How many nodes of NodeClaims have no pod but those of DaemonSets, as of the last survey; None: not known."""
        if self.survey is None or not self.survey.complete:
            return None
        taken = {pod.node for pod in (*self.running_servers, *self.running_content)}
        taken |= {guest.node for guest in self.foreign}
        nodes = {claim.node for claim in claims if not claim.deleting}
        return len((nodes & self.survey.nodes) - taken)
