"""What the events of a few watches come to: who was where from when to when. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from connect_autoscaler.api.names import LABEL_CAPACITY_TYPE, LABEL_NODEPOOL, LABEL_PROFILE
from connect_autoscaler.release.overlay import CONTENT_LABELS

Json = dict[str, Any]

NODES: Final = "nodes"
PODS: Final = "pods"
POOLS: Final = "nodepools"
PROFILES: Final = "profiles"
_INSTANCE: Final = "app.kubernetes.io/instance"
_TYPE: Final = "node.kubernetes.io/instance-type"
_PRICE: Final = "eks-node-viewer/instance-price"
"""US dollars per hour: Karpenter's kwok provider sets it, and eks-node-viewer's users do."""


@dataclass(frozen=True)
class Watched:
    """What a record is of.

    Attributes:
        profile: The name of the ConnectAutoscalingProfile.
        namespace: Of the release, and of its content.
        release: The name of the Helm release.
    """

    profile: str
    namespace: str
    release: str


@dataclass(frozen=True)
class Span:
    """A stretch of time, in seconds since the record began; without an end it was still going on."""

    start: float
    end: float | None = None

    def until(self, last: float) -> float:
        """Return where it ends in a record that ends there."""
        return last if self.end is None else self.end


@dataclass(frozen=True)
class Node(Span):
    """A node's life."""

    name: str = ""
    pool: str = ""
    capacity: str = ""
    type: str = ""
    price: float | None = None
    """US dollars per hour; None: nobody said."""


@dataclass(frozen=True)
class Pod(Span):
    """A pod's life on a node."""

    name: str = ""
    node: str = ""
    server: bool = False
    phase: str = ""


@dataclass(frozen=True)
class Condition(Span):
    """How long a condition said the same."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Correction(Span):
    """How long a NodePool of the profile was not what it was before and afterwards.

    Attributes:
        pool: Its name.
        items: What the profile's status then said of it (`status.drift.items`).
    """

    pool: str = ""
    items: tuple[Json, ...] = ()

    @property
    def milliseconds(self) -> float:
        return (self.until(self.start) - self.start) * 1000


@dataclass
class _Past:
    """States of one object, each with its beginning."""

    states: list[tuple[float, Any]] = field(default_factory=list)

    def add(self, at: float, state: Any) -> None:
        if not self.states or self.states[-1][1] != state:
            self.states.append((at, state))


@dataclass
class Record:
    """Takes events in, gives spans out.

    Attributes:
        watched: What it is of.
        began: When.
        length: Seconds that it covers so far.
        unseen: Why something could not be watched, by what; empty at its best.
        pool_names: Server pool, content pools, all others, in this order.
    """

    watched: Watched
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    length: float = 0.0
    unseen: dict[str, str] = field(default_factory=dict)
    _nodes: dict[str, Node] = field(default_factory=dict)
    _pods: dict[str, Pod] = field(default_factory=dict)
    _pools: dict[str, _Past] = field(default_factory=dict)
    _conditions: dict[str, list[Condition]] = field(default_factory=dict)
    _drift: dict[tuple[str, str], Json] = field(default_factory=dict)
    _reports: list[tuple[float, Json]] = field(default_factory=list)
    _own: tuple[str, ...] = ()

    def see(self, kind: str, event: str, body: Json, at: float) -> None:
        """Take in an event of a watch.

        Args:
            kind: One of NODES, PODS, POOLS and PROFILES.
            event: ADDED, MODIFIED or DELETED.
            body: The object.
            at: Seconds since the record began.
        """
        self.length = max(self.length, at)
        take = {NODES: self._node, PODS: self._pod, POOLS: self._pool, PROFILES: self._profile}[kind]
        take(body, at, gone=event == "DELETED")

    def listed(self, kind: str, bodies: Iterable[Json], at: float) -> None:
        """Take in a whole list: what is missing from it is gone."""
        there = {body["metadata"]["uid"]: body for body in bodies}
        past: dict[str, dict[str, Any]] = {NODES: dict(self._nodes), PODS: dict(self._pods)}
        for uid, life in past.get(kind, {}).items():
            if uid not in there and life.end is None:
                self._end(kind, uid, at)
        for name, past_pool in self._pools.items() if kind == POOLS else ():
            if name not in {body["metadata"]["name"] for body in there.values()}:
                past_pool.add(at, None)
        for body in there.values():
            self.see(kind, "ADDED", body, at)

    def nodes(self) -> list[Node]:
        """Return Karpenter's nodes, oldest first."""
        return sorted(self._nodes.values(), key=lambda node: node.start)

    def pods(self, *, server: bool) -> list[Pod]:
        """Return pods that had a node, oldest first: of the server, or of content."""
        return sorted((pod for pod in self._pods.values() if pod.server == server), key=lambda pod: pod.start)

    def conditions(self) -> dict[str, list[Condition]]:
        """Return the spans of each condition, by its type."""
        return {kind: list(spans) for kind, spans in self._conditions.items()}

    @property
    def pool_names(self) -> tuple[str, ...]:
        used = dict.fromkeys([*self._own, *(node.pool for node in self.nodes())])
        return tuple(used)

    def corrections(self) -> list[Correction]:
        """Return what was bent and put right, in the order of time.

        Known by a NodePool's returning to what it was. So a change that stays is none, and of what arrived in one piece
        the duration is too short.
        """
        found = [
            Correction(start, end, pool)
            for pool, past in self._pools.items()
            for start, end in _excursions(past.states)
        ]
        found.sort(key=lambda each: each.start)
        return [replace(each, items=self._said(each, found)) for each in found]

    def _said(self, of: Correction, all_of_them: list[Correction]) -> tuple[Json, ...]:
        """What status reported of a correction: afterwards, and before the next of the same NodePool."""
        next_one = min((c.start for c in all_of_them if c.pool == of.pool and c.start > of.start), default=float("inf"))
        said = {
            item["path"]: item
            for at, item in self._reports
            if of.start <= at < next_one and item["target"] == f"NodePool/{of.pool}"
        }
        return tuple(said.values())

    def _end(self, kind: str, uid: str, at: float) -> None:
        if kind == NODES:
            self._nodes[uid] = replace(self._nodes[uid], end=at)
        else:
            self._pods[uid] = replace(self._pods[uid], end=at)

    def _node(self, body: Json, at: float, *, gone: bool) -> None:
        meta = body["metadata"]
        uid, labels = meta["uid"], meta.get("labels", {})
        if LABEL_NODEPOOL not in labels:
            return
        known = self._nodes.get(uid, Node(at))
        said = labels.get(_PRICE) or meta.get("annotations", {}).get(_PRICE)
        capacity, kind = labels.get(LABEL_CAPACITY_TYPE, ""), labels.get(_TYPE, "")
        end = at if gone else None
        self._nodes[uid] = Node(
            known.start, end, meta["name"], labels[LABEL_NODEPOOL], capacity, kind, _number(said) or known.price
        )

    def _pod(self, body: Json, at: float, *, gone: bool) -> None:
        meta = body["metadata"]
        uid, labels, node = meta["uid"], meta.get("labels", {}), body["spec"].get("nodeName")
        server = labels.get(_INSTANCE) == self.watched.release
        if node is None or not (server or labels.items() >= CONTENT_LABELS.items()):
            return
        known = self._pods.get(uid, Pod(at))
        phase = body.get("status", {}).get("phase", "")
        over = gone or phase in {"Succeeded", "Failed"}
        end = known.end if known.end is not None else at if over else None
        self._pods[uid] = Pod(known.start, end, meta["name"], node, server, phase)

    def _pool(self, body: Json, at: float, *, gone: bool) -> None:
        meta = body["metadata"]
        name, labels = meta["name"], meta.get("labels", {})
        if name not in self._pools and labels.get(LABEL_PROFILE) != self.watched.profile:
            return
        there = not gone and "deletionTimestamp" not in meta
        self._pools.setdefault(name, _Past()).add(at, (body["spec"], labels) if there else None)

    def _profile(self, body: Json, at: float, *, gone: bool) -> None:
        spec, status = body["spec"], {} if gone else body.get("status", {})
        pools = (spec.get("serverPool", {}), spec.get("contentPool", {}), *spec.get("additionalContentPools", ()))
        self._own = tuple(pool["name"] for pool in pools if "name" in pool)
        said = {each["type"]: each for each in status.get("conditions", ())}
        for kind in {**self._conditions, **said}:
            self._condition(kind, said.get(kind), at)
        for item in status.get("drift", {}).get("items", ()):
            key = (item["target"], item["path"])
            if self._drift.get(key) != item:
                self._drift[key] = item
                self._reports.append((at, item))

    def _condition(self, kind: str, said: Json | None, at: float) -> None:
        spans = self._conditions.setdefault(kind, [])
        if spans and spans[-1].end is None:
            last = spans[-1]
            if said and (last.status, last.reason) == (said["status"], said["reason"]):
                spans[-1] = replace(last, message=said.get("message", ""))
                return
            spans[-1] = replace(last, end=at)
        if said:
            spans.append(Condition(at, None, kind, said["status"], said["reason"], said.get("message", "")))


def _excursions(states: list[tuple[float, Any]]) -> Iterable[tuple[float, float]]:
    """Yield when something left a state, and when it was back in it."""
    at = 0
    while at < len(states):
        _, state = states[at]
        back = next((later for later in range(at + 1, len(states)) if states[later][1] == state), None)
        if state is None or back is None:
            at += 1
            continue
        yield states[at + 1][0], states[back][0]
        at = back


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
