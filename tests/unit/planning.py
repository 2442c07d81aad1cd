"""What tests of the planner have in common: the usual edits, and ways to say what was decided."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.names import ANNOTATION_APPROVE
from connect_autoscaler.core.model import Action, Fight, Plan, PoolPlan, Snapshot
from unit.builders import (
    NOW,
    Bend,
    Json,
    claim,
    edited,
    live_pool,
    peer,
    profile,
    settled,
    snapshot,
)

SERVER, CONTENT = "connect-server", "connect-content"
SERVER_POOL, CONTENT_POOL = f"NodePool/{SERVER}", f"NodePool/{CONTENT}"
PROFILE = "ConnectAutoscalingProfile/production"
UNPROTECTED: Json = {"serverPool": {"deletionProtection": False}}


def patch(spec: Json, manager: str = "kubectl-edit") -> Bend:
    """Return a bend: somebody's merge patch of the spec."""
    return lambda live: edited(live, {"spec": spec}, manager)


def template(**spec: Any) -> Bend:
    return patch({"template": {"spec": spec}})


WEIGHT = patch({"weight": 7})
EXPIRY = template(expireAfter="24h")
LABEL = patch({"template": {"metadata": {"labels": {"team": "theirs"}}}})


def verbs(actions: Iterable[Action]) -> list[tuple[str, str]]:
    return [(action.verb, action.target) for action in actions]


def done(decided: Plan) -> list[tuple[str, str]]:
    return verbs(decided.actions)


def waiting(decided: Plan) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(action.verb, action.target, reason, action.fields) for action, reason in decided.deferred]


def of(decided: Plan, name: str = SERVER) -> PoolPlan:
    return next(pool for pool in decided.pools if pool.pool.name == name)


def findings(decided: Plan, name: str = SERVER) -> list[tuple[str, str, str | None, str]]:
    return [
        (found.difference.pointer, found.action, found.reason, found.author.manager)
        for found in of(decided, name).findings
    ]


def only(decided: Plan) -> Action:
    (action,) = decided.actions
    return action


def ignoring(**rule: Any) -> Json:
    return {"driftPolicy": {"ignore": [rule]}}


def fight(pointer: str, target: str = SERVER_POOL, *, slowed: bool = True) -> Fight:
    return Fight(target, pointer, "bot", NOW + timedelta(seconds=30) if slowed else None)


def born_elsewhere(name: str, bend: Bend = EXPIRY, count: int = 2) -> Any:
    return lambda pools: [claim(bend(pools[name]), f"{name}-{n}", owned=False) for n in range(count)]


def born_here(name: str) -> Any:
    return lambda pools: [claim(pools[name], f"{name}-1", owned=False)]


OPEN, SHUT = {"schedule": "0 11 * * *", "duration": "4h"}, {"schedule": "0 3 * * *", "duration": "4h"}


def approved(seen: Snapshot, digest: str | None) -> Snapshot:
    owner = replace(seen.profile, annotations={ANNOTATION_APPROVE: digest or ""})
    return replace(seen, profile=owner)


def theirs(live: Json, **metadata: Any) -> Json:
    """Return the pool without the operator's marks."""
    meta = {**live["metadata"], "labels": {}, "annotations": {}, "finalizers": [], "managedFields": [], **metadata}
    return {**live, "metadata": meta}


def existing(take_over: str, bend: Bend = lambda live: live, **metadata: Any) -> Snapshot:
    owner = profile({"takeOver": take_over})
    return snapshot(owner, [theirs(bend(live_pool(owner, SERVER)), **metadata)])


def rival(*, pool: bool = True, placement: bool = True, older: bool = True) -> Any:
    spec: Json = {} if pool else {"serverPool": {"name": "s"}, "contentPool": {"name": "c"}}
    if not placement:
        spec["placement"] = {"labelKey": "other"}
    return peer("rival", spec=spec, created=NOW - timedelta(days=60 if older else 1))


MISSING = Problem(Reason.NODE_CLASS_NOT_FOUND, "EC2NodeClass default does not exist", stalled=False)
EXTERNAL: Json = {"serverPool": {"name": "shared", "management": "External"}}


def external(bend: Bend = lambda live: live) -> Snapshot:
    seen = settled(EXTERNAL)
    model = profile({"serverPool": {"name": "shared"}}, name="platform")
    pool = bend(theirs(live_pool(model, "shared")))
    return replace(seen, pools={**seen.pools, **({"shared": pool} if pool else {})})


MORE: Json = {"additionalContentPools": [{"name": "gpu"}]}
