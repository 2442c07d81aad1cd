"""The nouns of a pass: what was seen (Snapshot), what is to be done (Action), what was decided (Plan)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.profile import Pool, Profile
from connect_autoscaler.api.status import ConditionStatus, Disruption, DriftAction, ProfileStatus
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.release_model import JobsView, ReleaseView
from connect_autoscaler.nodepools.claims import NodeClaim
from connect_autoscaler.nodepools.compare import Difference
from connect_autoscaler.nodepools.health import Health
from connect_autoscaler.nodepools.karpenter import Karpenter
from connect_autoscaler.nodepools.managers import Author
from connect_autoscaler.nodepools.ownership import Peer
from connect_autoscaler.placement.scene import Scene

Json = dict[str, Any]


class Differing(Protocol):
    """A difference in a NodePool, in values, or in a live object."""

    @property
    def pointer(self) -> str:
        """Where, as users read it."""

    @property
    def expected(self) -> Any | None:
        """What should be there; None: nothing."""

    @property
    def actual(self) -> Any | None:
        """What is there; None: nothing."""


class Verdict(NamedTuple):
    """A condition before it has a type."""

    status: ConditionStatus
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Fight:
    """Somebody who reverts a correction again and again."""

    target: str
    pointer: str
    manager: str
    slowed_until: datetime | None
    """Next time the path may be corrected; None: now."""


@dataclass(frozen=True)
class Snapshot:
    """Everything a pass decides on. Gathered once, never changed."""

    profile: Profile
    karpenter: Karpenter | None
    """None: the NodePool CRD does not exist."""
    node_classes: Mapping[tuple[str, str, str], Problem | None]
    """By group, kind and name of a NodeClass: None if it exists, else what is wrong."""
    pools: Mapping[str, Json]
    """Live NodePools by name: those the profile names, those with its mark, and those of its rivals."""
    claims: Mapping[str, Sequence[NodeClaim]]
    """NodeClaims by the name of their NodePool."""
    peers: tuple[Peer, ...]
    """All other profiles."""
    fights: tuple[Fight, ...] = ()
    draft: ProfileStatus | None = None
    """The status of the last pass, if it is not written yet."""
    corrections_today: int = 0
    """Corrections of the last 24 hours that replaced nodes."""
    release: ReleaseView | None = None
    """The Helm release; None: the profile has none, or does not care for it."""
    jobs: JobsView | None = None
    """What the API of Connect told; None: there is no access to it."""
    scene: Scene | None = None
    """What the checks of placement look at; None: there is no release to check."""

    @property
    def known(self) -> ProfileStatus:
        """What earlier passes found out, written or not."""
        return self.draft or self.profile.status


class Verb(StrEnum):
    """What an action does; shown in ``status.plan[].action``."""

    HOLD = "AddFinalizer"
    LET_GO = "RemoveFinalizer"
    CREATE = "Create"
    APPLY = "Apply"
    RECOVER = "Recover"
    UNPROTECT = "Unprotect"
    DETACH = "Detach"
    REATTACH = "Reattach"
    RELEASE = "Release"
    DELETE = "Delete"
    PREPARE = "Prepare"
    UPGRADE = "Upgrade"
    RESTORE = "Restore"
    UNLOCK = "Unlock"
    SETTLE = "Settle"
    REMEMBER = "Remember"
    FORGET = "Forget"
    PUBLISH = "Publish"
    WITHDRAW = "Withdraw"


OF_RELEASE: Final = frozenset({Verb.FORGET, Verb.PUBLISH, Verb.WITHDRAW})
"""Writes on behalf of the release."""


@dataclass(frozen=True)
class Action:
    """One write, or one short series of writes that belong together."""

    verb: Verb
    target: str
    """Kind and name, such as ``NodePool/connect-server``."""
    body: Json = field(default_factory=dict)
    """The object to apply."""
    live: Json = field(default_factory=dict)
    """The object as it was seen; guards of a patch come from it."""
    removals: tuple[Difference, ...] = ()
    """Undeclared fields that server-side apply leaves in place."""
    differences: tuple[Differing, ...] = ()
    """What it puts right."""
    drift: bool = False
    """Whether it corrects what somebody changed (else it follows a change of the profile)."""
    disruption: Disruption = Disruption.NONE
    node_claims: int = 0
    """NodeClaims that the action makes outdated."""
    claim: NodeClaim | None = None
    digest: str = ""
    """Digest of the rendered pool."""

    @property
    def name(self) -> str:
        """Name of the target."""
        return self.target.partition("/")[2]

    @property
    def fields(self) -> tuple[str, ...]:
        """JSON pointers of what changes."""
        return tuple(difference.pointer for difference in self.differences)


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference, who made it, and what becomes of it."""

    target: str
    difference: Differing
    author: Author
    action: DriftAction
    reason: Reason | None = None
    node_claims: int = 0


@dataclass(frozen=True)
class PoolPlan:
    """Decisions about one pool."""

    pool: Pool
    live: Json | None
    wanted: Json | None
    digest: str = ""
    actions: tuple[Action, ...] = ()
    deferred: tuple[tuple[Action, Reason], ...] = ()
    findings: tuple[Finding, ...] = ()
    problem: Problem | None = None
    health: Health | None = None
    outdated: int = 0
    in_sync: bool = False
    """Whether the live pool is exactly as wanted."""
    compared: bool = False
    """Whether the live pool was held against the wanted one at all."""
    broken: tuple[str, ...] = ()
    """Pointers of differences that break the promise and stay."""


@dataclass(frozen=True)
class ReleasePlan:
    """Decisions about the Helm release."""

    verdict: Verdict
    """Condition ReleaseConfigured."""
    problem: Problem | None = None
    work: Action | None = None
    """Long work to begin now."""
    actions: tuple[Action, ...] = ()
    deferred: tuple[tuple[Action, Reason], ...] = ()
    findings: tuple[Finding, ...] = ()
    wake_at: datetime | None = None
    """When time alone changes the decision."""


@dataclass(frozen=True)
class Plan:
    """Decisions about a profile: everything that act does and report says."""

    pools: tuple[PoolPlan, ...] = ()
    problems: tuple[Problem, ...] = ()
    actions: tuple[Action, ...] = ()
    """In the order they are to be done."""
    deferred: tuple[tuple[Action, Reason], ...] = ()
    digest: str | None = None
    """Digest of what waits; approving it releases exactly that."""
    release: ReleasePlan | None = None
    wake_at: datetime | None = None
    """When time alone changes the outcome."""
    finished: bool = False
    """The profile is being deleted and nothing of it is left to do."""


@dataclass(frozen=True)
class Outcome:
    """What became of the actions."""

    done: tuple[Action, ...] = ()
    failed: tuple[tuple[Action, KubeError], ...] = ()
    pools: Mapping[str, Json] = field(default_factory=dict)
    """Live NodePools as the writes left them."""
    lost: frozenset[str] = frozenset()
    """Uids of NodeClaims that could not be saved from a deletion of their pool, in this or an earlier pass."""
