"""Whose a NodePool is, and which of two profiles may have it.

Rules (design: "an object that this profile does not own is never written"): the marks are a label with the profile's
name and an annotation with its uid. A pool, a placement value and a release are claimed once: who holds the live mark
keeps it, else the older profile, else the first name. A mark with our name whose uid belongs to no living profile is
ours.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final, Self

from connect_autoscaler.api.names import ANNOTATION_PROFILE_UID, LABEL_PROFILE
from connect_autoscaler.api.profile import Profile


class Ownership(Enum):
    """Relation of a live NodePool to a profile."""

    OURS = auto()
    OTHERS = auto()
    NOBODYS = auto()


@dataclass(frozen=True, slots=True)
class Peer:
    """Another living profile, as far as claims go."""

    name: str
    uid: str
    created: datetime
    pools: frozenset[str]
    """Names of its Managed pools."""
    placements: frozenset[tuple[str, str]]
    """Placement labels of its Managed pools."""
    release: tuple[str, str] | None = None
    """Namespace and name of the release that it cares for."""

    def rivals(self, other: "Peer") -> bool:
        """Whether both claim the same pool, placement or release."""
        same_release = self.release is not None and self.release == other.release
        return same_release or bool(self.pools & other.pools or self.placements & other.placements)

    @classmethod
    def of(cls, profile: Profile) -> Self:
        """Take the claims of a profile; External pools are shared and claim nothing."""
        pools, placements, release = profile.claimed_pools, profile.claimed_placements, profile.claimed_release
        return cls(profile.name, profile.uid, profile.created, pools, placements, release)


def mark(live: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Name and uid of the profile that marked the pool."""
    meta = live["metadata"]
    return meta.get("labels", {}).get(LABEL_PROFILE), meta.get("annotations", {}).get(ANNOTATION_PROFILE_UID)


def ownership(live: Mapping[str, Any], me: Peer, peers: Iterable[Peer]) -> Ownership:
    """Tell whose pool it is; a mark of a profile that is gone under another name is nobody's."""
    name, uid = mark(live)
    living = {peer.uid: peer.name for peer in peers}
    if uid == me.uid or (name == me.name and uid not in living):
        return Ownership.OURS
    if uid in living or name in living.values():
        return Ownership.OTHERS
    return Ownership.NOBODYS


def contested_pool(pool: str, live: Mapping[str, Any] | None, me: Peer, peers: Iterable[Peer]) -> Peer | None:
    """The profile that has the better claim to a pool of mine, if any."""
    everyone = (me, *peers)
    rivals = [peer for peer in everyone[1:] if pool in peer.pools]
    return _winner(me, rivals, _holders([live] if live else [], everyone))


def contested_placement(me: Peer, peers: Iterable[Peer], pools: Iterable[Mapping[str, Any]]) -> Peer | None:
    """The profile that has the better claim to a placement value of mine, if any.

    Args:
        me: The profile that asks.
        peers: All other profiles.
        pools: Every live NodePool.
    """
    everyone = (me, *peers)
    rivals = [peer for peer in everyone[1:] if peer.placements & me.placements]
    return _winner(me, rivals, _holders(pools, everyone) if rivals else frozenset())


def contested_release(me: Peer, peers: Iterable[Peer], marks: Iterable[Mapping[str, Any]] = ()) -> Peer | None:
    """The profile that has the better claim to my release, if any.

    Args:
        me: The profile that asks.
        peers: All other profiles.
        marks: The Secrets in which profiles remember what they took over in the release's namespace.
    """
    everyone = (me, *peers)
    rivals = [peer for peer in everyone[1:] if me.release is not None and peer.release == me.release]
    return _winner(me, rivals, _holders(marks, everyone) if rivals else frozenset())


def _holders(marked: Iterable[Mapping[str, Any]], everyone: Iterable[Peer]) -> frozenset[str]:
    """Uids of the profiles whose mark an object carries; a mark with a dead uid is held by its name."""
    by_uid = {peer.uid: peer.uid for peer in everyone}
    by_name = {peer.name: peer.uid for peer in everyone}
    marks = map(mark, marked)
    return frozenset(by_uid.get(uid or "") or by_name.get(name or "", "") for name, uid in marks)


def _winner(me: Peer, rivals: Iterable[Peer], holders: frozenset[str]) -> Peer | None:
    first = min((me, *rivals), key=lambda p: (p.uid not in holders, p.created, p.name))
    return None if first is me else first


_GIT_OWNERS: Final = (
    # owner, its mark on the object, and what keeps it from pruning (annotation or label, value)
    ("Argo CD", "argocd.argoproj.io/tracking-id", ("argocd.argoproj.io/sync-options", "Prune=false")),
    ("Argo CD", "argocd.argoproj.io/instance", ("argocd.argoproj.io/sync-options", "Prune=false")),
    ("Flux", "kustomize.toolkit.fluxcd.io/name", ("kustomize.toolkit.fluxcd.io/prune", "disabled")),
    ("Flux", "helm.toolkit.fluxcd.io/name", ("helm.sh/resource-policy", "keep")),
    ("Helm", "meta.helm.sh/release-name", ("helm.sh/resource-policy", "keep")),
)


def pruned_by(live: Mapping[str, Any]) -> tuple[str, str] | None:
    """The tool that could delete the pool on its own, and the annotation that stops it; None: nobody could."""
    meta = live["metadata"]
    texts = {**meta.get("labels", {}), **meta.get("annotations", {})}
    for owner, marker, (key, value) in _GIT_OWNERS:
        words = {word.strip().lower() for word in texts.get(key, "").split(",")}
        if marker in texts and value.lower() not in words:
            return owner, f"{key}: {value}"
    return None
