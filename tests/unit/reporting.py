"""What tests of the report have in common: passes, what status says, and the rules that it keeps."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from connect_autoscaler.api.conditions import ConditionType, Reason
from connect_autoscaler.api.status import ConditionStatus, DriftItem, ProfileStatus
from connect_autoscaler.core import report
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.model import Outcome, Snapshot
from connect_autoscaler.core.plan import plan
from crd_schema import root
from unit.builders import (
    NOW,
    Json,
    settled,
)

ABNORMAL: Final = ("Reconciling", "Stalled", "Suspended", "Fighting")
LATER: Final = NOW + timedelta(minutes=3)
LAST: Final = NOW + timedelta(minutes=6)


def all_done(seen: Snapshot) -> Outcome:
    return Outcome(done=plan(seen, NOW).actions)


def status_of(seen: Snapshot, outcome: Outcome | None = None) -> ProfileStatus:
    return report.status(seen, plan(seen, NOW), all_done(seen) if outcome is None else outcome, NOW)


def said(status: ProfileStatus) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


def failing(seen: Snapshot, error: KubeError) -> Outcome:
    return Outcome(failed=tuple((action, error) for action in plan(seen, NOW).actions))


def next_pass(seen: Snapshot, status: ProfileStatus, pools: Mapping[str, Json] | None = None) -> Snapshot:
    """Return what the next pass sees: the status as written, and the pools as they are then."""
    owner = replace(seen.profile, status=status)
    return replace(seen, profile=owner, pools=seen.pools if pools is None else pools)


def steady(spec: Json | None = None, *, bend: Mapping[str, Any], **fields: Any) -> Snapshot:
    """Return what was found good, and reported so, before somebody bent its pools."""
    good = settled(spec, **fields)
    return next_pass(settled(spec, bend=bend, **fields), status_of(good))


def check_conditions(seen: Snapshot, status: ProfileStatus, before: ProfileStatus) -> None:
    found = {condition.type: condition for condition in status.conditions}
    assert len(found) == len(status.conditions), "one of each type"
    assert list(found) == [kind.value for kind in ConditionType if kind.value in found], "in one order"
    assert {"Ready", "NodePoolsReady", "Drifted"} <= found.keys(), "set at the first visit"
    for kind in ABNORMAL:
        assert kind not in found or found[kind].status is ConditionStatus.TRUE, "absent unless True"
    assert not {"Reconciling", "Stalled"} <= found.keys()
    if found["Ready"].status is ConditionStatus.TRUE:
        assert not {"Reconciling", "Stalled"} & found.keys()
        assert found["NodePoolsReady"].status is ConditionStatus.TRUE
    if "Stalled" in found:
        assert found["Ready"].status is ConditionStatus.FALSE
    if found["Ready"].status is ConditionStatus.UNKNOWN:
        assert "Reconciling" in found, "somebody is at work on it"
    assert status.observed_generation == seen.profile.generation
    for condition in status.conditions:
        assert condition.observed_generation == seen.profile.generation
        assert condition.reason in list(Reason)
        assert condition.message
        old = before.condition(condition.type)
        moved = old is None or old.status is not condition.status
        assert condition.last_transition_time == (NOW if moved or old is None else old.last_transition_time)


def check_bounds(status: ProfileStatus) -> None:
    written = status.dump()
    assert ProfileStatus.model_validate(written) == status, "what is written is what was meant"
    assert json.loads(json.dumps(written)) == written
    fits(written, root()["properties"]["status"], "status")
    drift = status.drift
    assert drift is not None
    assert len(drift.items) <= min(20, drift.total)
    for item in drift.items:
        assert item.first_seen is not None
        assert item.last_seen is not None
        assert item.first_seen <= item.last_seen
        for text in (item.expected, item.actual):
            assert text is None or (len(text.encode()) <= 256 and isinstance(json.loads(text), object))
        assert item.reason in [None, *Reason]
    assert all(action.reason in list(Reason) for action in status.plan)


def fits(value: Any, schema: Json, at: str) -> None:
    """Check a value against what the CRD says of it: types, enums, lengths."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]]), at
    if "enum" in schema:
        assert value in schema["enum"], at
    if isinstance(value, str | list):
        length = len(value)
        bounds = {"minLength": -1, "maxLength": 1, "minItems": -1, "maxItems": 1}
        assert all((length - schema[name]) * sign <= 0 for name, sign in bounds.items() if name in schema), at
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= value.keys(), at
        for name, below in value.items():
            assert name in schema["properties"], f"{at}.{name}"
            fits(below, schema["properties"][name], f"{at}.{name}")
    if isinstance(value, list):
        for below in value:
            fits(below, schema["items"], f"{at}[]")


def items(status: ProfileStatus) -> list[DriftItem]:
    assert status.drift is not None
    return list(status.drift.items)
