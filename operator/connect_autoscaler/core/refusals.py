"""Reasons to write nothing: an ordered chain of pure policies, each a snapshot in, problems out.

With any problem no pool is created and no change of the profile is rolled out, so nothing is ever half-written; pools
that are already in place keep being healed. A profile with a weaker claim than another's does not even do that.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.profile import Pool
from connect_autoscaler.api.spec import TakeOver
from connect_autoscaler.core import gates
from connect_autoscaler.core.model import Snapshot
from connect_autoscaler.nodepools import ownership as own
from connect_autoscaler.nodepools.compare import differences
from connect_autoscaler.nodepools.ownership import Ownership, Peer
from connect_autoscaler.nodepools.paths import get
from connect_autoscaler.nodepools.render import contradictions, render, unknown_features

CONTESTED: Final = frozenset({Reason.POOL_CLAIMED_TWICE, Reason.PLACEMENT_CLAIMED_TWICE, Reason.RELEASE_CLAIMED_TWICE})


def refusals(snapshot: Snapshot) -> Iterator[Problem]:
    """Every reason against writing, most fundamental first; later policies rely on earlier ones having passed."""
    for policy in _POLICIES:
        found = tuple(policy(snapshot))
        yield from found
        if found:
            return


def _karpenter(snapshot: Snapshot) -> Iterator[Problem]:
    if snapshot.karpenter is None:
        yield Problem(
            Reason.KARPENTER_NOT_INSTALLED,
            "CustomResourceDefinition nodepools.karpenter.sh does not exist; install Karpenter 1.13 or newer",
            stalled=False,
        )
    elif not snapshot.karpenter.supported:
        yield Problem(
            Reason.UNSUPPORTED_KARPENTER,
            "The installed NodePool CRD is older than Karpenter 1.13; upgrade Karpenter and its CRDs",
        )


def _claims(snapshot: Snapshot) -> Iterator[Problem]:
    me = Peer.of(snapshot.profile)
    if rival := own.contested_release(me, snapshot.peers, snapshot.release.marks if snapshot.release else ()):
        yield Problem(
            Reason.RELEASE_CLAIMED_TWICE,
            f"Release {'/'.join(me.release or ())} is held by profile {rival.name}; name another one in one of the two",
        )
    for name in sorted(me.pools):
        if rival := own.contested_pool(name, snapshot.pools.get(name), me, snapshot.peers):
            yield Problem(
                Reason.POOL_CLAIMED_TWICE,
                f"NodePool {name} is held by profile {rival.name}; name another pool in one of the two profiles",
            )
    if rival := own.contested_placement(me, snapshot.peers, snapshot.pools.values()):
        shared = ", ".join(f"{key}={value}" for key, value in sorted(me.placements & rival.placements))
        yield Problem(
            Reason.PLACEMENT_CLAIMED_TWICE,
            f"Placement label {shared} is held by profile {rival.name}; "
            "pods of both would share nodes, so choose other values in spec.placement",
        )


def _windows(snapshot: Snapshot) -> Iterator[Problem]:
    for window in snapshot.profile.spec.disruptions.windows:
        if (fault := gates.fault(window)) is not None:
            yield Problem(Reason.INVALID, f"spec.disruptions.windows: {fault}")


def _requirements(snapshot: Snapshot) -> Iterator[Problem]:
    assert snapshot.karpenter is not None  # noqa: S101 - an earlier policy saw to it
    for pool in _managed(snapshot):
        for message in unknown_features(pool, snapshot.karpenter):
            yield Problem(Reason.INVALID, message)
        for message in contradictions(pool):
            yield Problem(Reason.UNSATISFIABLE, message)


def _existing(snapshot: Snapshot) -> Iterator[Problem]:
    me = Peer.of(snapshot.profile)
    for pool in _managed(snapshot):
        live = snapshot.pools.get(pool.name)
        if live is not None and (whose := own.ownership(live, me, snapshot.peers)) is not Ownership.OURS:
            yield from _take_over(snapshot, pool, live, whose)


def _take_over(snapshot: Snapshot, pool: Pool, live: Mapping[str, Any], whose: Ownership) -> Iterator[Problem]:
    assert snapshot.karpenter is not None  # noqa: S101 - an earlier policy saw to it
    take_over = snapshot.profile.spec.take_over
    found = differences(render(snapshot.profile, pool, snapshot.karpenter), live)
    spec = [d for d in found if d.path[0] == "spec"]
    if whose is Ownership.OTHERS:
        holder = next(mark for mark in own.mark(live) if mark)
        yield Problem(Reason.NAME_TAKEN, f"NodePool {pool.name} carries the mark of another profile, {holder}")
    elif take_over is TakeOver.NEVER:
        yield Problem(
            Reason.NAME_TAKEN,
            f"NodePool {pool.name} exists and is not this profile's; rename the pool in the profile, "
            "or set spec.takeOver to IfNoDiff or Always",
        )
    elif git := own.pruned_by(live):
        yield Problem(
            Reason.GIT_OWNED,
            f"NodePool {pool.name} is owned by {git[0]}, which could prune it; annotate it with {git[1]}",
        )
    elif immutable := [d.pointer for d in spec if d.immutable]:
        yield Problem(
            Reason.IMMUTABLE_FIELD,
            f"NodePool {pool.name} cannot be taken over: {', '.join(immutable)} differs and is immutable",
        )
    elif take_over is TakeOver.IF_NO_DIFF and spec:
        fields = ", ".join(d.pointer for d in spec)
        yield Problem(
            Reason.NAME_TAKEN,
            f"NodePool {pool.name} exists and differs in {fields}; make it equal, or set spec.takeOver: Always",
        )


def _node_classes(snapshot: Snapshot) -> Iterator[Problem]:
    seen = set()
    for pool in _managed(snapshot):
        live = snapshot.pools.get(pool.name)
        placed = get(live, ("spec", "template", "spec", "nodeClassRef")) if live else None
        key = pool.node_class_key
        if placed != pool.node_class.model_dump() and key not in seen and (problem := snapshot.node_classes.get(key)):
            seen.add(key)
            yield problem


def _managed(snapshot: Snapshot) -> Iterator[Pool]:
    return (pool for pool in snapshot.profile.pools if pool.managed)


_POLICIES: Final[tuple[Callable[[Snapshot], Iterator[Problem]], ...]] = (
    _karpenter,
    _claims,
    _windows,
    _requirements,
    _existing,
    _node_classes,
)
