"""What an operator is asked to do: a beginning, steps, and the end state that each has to lead to.

A step is done by the administrator; what must be seen before the next one is checked at the API server itself. The end
state of a workload is not written down here: it is the one of the run without faults.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from harness import NODE_CLAIMS, NODE_POOLS, PROFILES
from profile_specs import Spec
from reliability.stage import Stage


@dataclass(frozen=True)
class Step:
    """One thing that somebody does, and how to see that it has been answered.

    Attributes:
        act: Does it.
        done: Tells whether the next step may come; the last step's end is the picture of the run without faults.
    """

    act: Callable[[Stage], object]
    done: Callable[[Stage], bool] = lambda _: True


@dataclass(frozen=True)
class Workload:
    """What is done.

    Attributes:
        name: In plans and results.
        steps: In order.
        spec: Of the profile, over the usual one; None: there is none before the first step.
        claims: Roles of pools (`server`, `content`) that have a NodeClaim before the first step.
        away: Whether the operator is away during the first step: what is looked at then is its start.
        bends: Whether somebody bends or deletes what the profile owns, so that reports of drift are to be expected.
        release: Whether the profile has a Helm release.
    """

    name: str
    steps: tuple[Step, ...]
    spec: Spec | None = field(default_factory=dict)
    claims: tuple[str, ...] = ()
    away: bool = False
    bends: bool = False
    release: bool = False


def ready(stage: Stage) -> bool:
    """Tell whether the profile is Ready, for its present generation."""
    return condition(stage, "Ready") == "True"


def gone(stage: Stage) -> bool:
    """Tell whether the profile does not exist any more."""
    return stage.api.find(PROFILES, stage.own) is None


def whole(stage: Stage) -> bool:
    """Tell whether both NodePools exist, are not bent by this module, and the profile is Ready."""
    pools = [stage.api.find(NODE_POOLS, name) for name in (stage.profile.server, stage.profile.content)]
    found = [pool for pool in pools if pool and "deletionTimestamp" not in pool["metadata"]]
    return (
        len(found) == len(pools) and not any(pool["spec"].get("weight") in {3, 99} for pool in found) and ready(stage)
    )


def condition(stage: Stage, kind: str) -> str | None:
    """Return the status of a condition of the present generation."""
    body = stage.api.find(PROFILES, stage.own)
    for each in (body or {}).get("status", {}).get("conditions", ()):
        if body and each["type"] == kind and each["observedGeneration"] == body["metadata"]["generation"]:
            return str(each["status"])
    return None


def _patch(spec: Mapping[str, Any]) -> Callable[[Stage], object]:
    return lambda stage: stage.profile.patch(spec)


def _bend(stage: Stage) -> None:
    """Change one field, remove one, and add one that nobody declared."""
    template = {"metadata": {"labels": {"bent": "yes"}}, "spec": {"terminationGracePeriod": "1h"}}
    stage.api.merge(NODE_POOLS, stage.profile.content, {"spec": {"weight": 99, "limits": None, "template": template}})
    stage.api.merge(NODE_POOLS, stage.profile.server, {"metadata": {"finalizers": None}, "spec": {"weight": 3}})


def _remove_pools(stage: Stage) -> None:
    stage.api.delete(NODE_POOLS, stage.profile.server)
    stage.api.delete(NODE_POOLS, stage.profile.content)


def _while_away(stage: Stage) -> None:
    stage.api.merge(NODE_POOLS, stage.profile.server, {"spec": {"weight": 99}})
    stage.api.delete(NODE_POOLS, stage.profile.content)
    stage.profile.patch({"serverPool": {"limits": {"cpu": "32"}}})


def _claims_gone(stage: Stage) -> None:
    stage.api.delete(NODE_CLAIMS, f"{stage.profile.content}-claim")


NEW: Final = Workload("new", (Step(lambda stage: stage.create_profile(), ready),), spec=None)
START: Final = Workload("start", (Step(lambda stage: stage.create_profile(), ready),), spec=None, away=True)
UPDATE: Final = Workload(
    "update",
    (
        Step(
            _patch({"serverPool": {"weight": 7}, "contentPool": {"weight": 7, "limits": None, "labels": {"a": "b"}}}),
            ready,
        ),
    ),
)
DRIFT: Final = Workload("drift", (Step(_bend, whole),), bends=True)
DELETED_POOL: Final = Workload("deleted-pool", (Step(_remove_pools, whole),), claims=("server",), bends=True)
RETAIN: Final = Workload("delete-retain", (Step(lambda stage: stage.profile.delete(), gone),), claims=("server",))
DELETE: Final = Workload(
    "delete-pools",
    (Step(lambda stage: stage.profile.delete(), gone),),
    spec={"deletionPolicy": {"nodePools": "Delete", "release": "Restore"}},
)
SUSPEND: Final = Workload(
    "suspend",
    (
        Step(_patch({"suspend": True}), lambda stage: condition(stage, "Suspended") == "True"),
        Step(_bend, lambda stage: condition(stage, "Drifted") == "True"),
        Step(_patch({"suspend": False}), whole),
    ),
    bends=True,
)
REPLACE: Final = Workload(
    "replace-nodes",
    (Step(_patch({"contentPool": {"labels": {"tier": "b"}}}), ready),),
    spec={"disruptions": {"when": "Immediately"}},
    claims=("content",),
)
DEFER: Final = Workload(
    "defer",
    (
        Step(_patch({"contentPool": {"labels": {"tier": "b"}}}), lambda stage: bool(stage.profile.status.get("plan"))),
        Step(_claims_gone, ready),
    ),
    claims=("content",),
)
AWAY: Final = Workload("away", (Step(_while_away, whole),), claims=("server",), away=True, bends=True)


def _unprotect(stage: Stage) -> None:
    assert stage.release is not None
    stage.release.bend()


def _protected(stage: Stage) -> bool:
    return stage.release is not None and stage.release.protected and ready(stage)


_AT_ONCE: Final[Spec] = {"disruptions": {"when": "Immediately"}}
TAKE_OVER: Final = Workload(
    "take-over", (Step(lambda stage: stage.create_profile(**_AT_ONCE), ready),), spec=None, release=True
)
UPGRADE: Final = Workload(
    "upgrade", (Step(_patch({"content": {"renderedDoNotDisrupt": "4h"}}), ready),), spec=_AT_ONCE, release=True
)
CORRECT: Final = Workload(
    "correct-release",
    (Step(_unprotect, _protected),),
    spec={**_AT_ONCE, "driftPolicy": {"release": "Correct"}},
    bends=True,
    release=True,
)
RESTORE: Final = Workload(
    "restore",
    (Step(lambda stage: stage.profile.delete(), gone),),
    spec={**_AT_ONCE, "deletionPolicy": {"nodePools": "Retain", "release": "Restore"}},
    release=True,
)
RESTORE_DELETE: Final = Workload(
    "restore-and-delete",
    (Step(lambda stage: stage.profile.delete(), gone),),
    spec={**_AT_ONCE, "deletionPolicy": {"nodePools": "Delete", "release": "Restore"}},
    release=True,
)

POOLS: Final = {
    each.name: each for each in (START, NEW, UPDATE, DRIFT, DELETED_POOL, RETAIN, DELETE, SUSPEND, REPLACE, DEFER, AWAY)
}
"""Workloads of profiles without a release."""
RELEASES: Final = {each.name: each for each in (TAKE_OVER, UPGRADE, CORRECT, RESTORE, RESTORE_DELETE)}
"""Workloads with one: each of their plans takes Helm some seconds."""
WORKLOADS: Final = {**POOLS, **RELEASES}
