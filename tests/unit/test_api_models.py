"""The models: the bounds and defaults of the CRD field by field, and what they add for those who work with them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connect_autoscaler.api.fields import parse_duration
from connect_autoscaler.api.spec import Budget, DisruptionReason, Management, ProfileSpec, Role
from connect_autoscaler.api.status import Condition, ConditionStatus, DriftItem, Heals, ProfileStatus, clip, json_text
from crd_schema import fields, root
from profile_specs import FULL, NODE_CLASS, SMALLEST, Spec, merged

Schema = dict[str, Any]

BOUNDS = ("enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "maxProperties")


def model_fields(schema: Schema, document: Schema, path: str, default: Any = None) -> Iterator[tuple[str, Schema]]:
    """Yield every field of a JSON schema that pydantic made, under the path that it has in the CRD."""
    default = schema.get("default", default)
    alternatives = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(alternatives) == 1:
        yield from model_fields(alternatives[0], document, path, default)
    elif "$ref" in schema:
        yield from model_fields(document["$defs"][schema["$ref"].rpartition("/")[2]], document, path, default)
    else:
        # Of an integer or a string the CRD lists the bounds together.
        together = {key: value for each in alternatives for key, value in each.items()}
        yield path, {**schema, **together, "default": default}
        for name, below in schema.get("properties", {}).items():
            yield from model_fields(below, document, f"{path}.{name}")
        for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
            if isinstance(schema.get(key), dict):
                yield from model_fields(schema[key], document, path + mark)


def bounds(schema: Schema) -> Schema:
    found = {key: schema[key] for key in BOUNDS if schema.get(key)}
    default = schema.get("default")
    return {**found, "default": default} if isinstance(default, (str, bool, int)) else found


def test_spec_has_the_bounds_and_defaults_of_the_crd() -> None:
    document = ProfileSpec.model_json_schema()
    by_model = {path: bounds(schema) for path, schema in model_fields(document, document, "spec")}
    by_crd = {field.path: bounds(field.schema) for field in fields(root()) if field.path.startswith("spec")}
    assert by_model == by_crd


def test_status_has_the_bounds_of_the_crd_or_cuts_what_is_too_long() -> None:
    document = ProfileStatus.model_json_schema()
    by_model = {path: bounds(schema) for path, schema in model_fields(document, document, "status")}
    by_crd = {field.path: bounds(field.schema) for field in fields(root()) if field.in_status}
    assert by_model.keys() == by_crd.keys()
    for path, written in by_crd.items():
        # A real API server says of a status that is too long in every way whether all the rest is cut.
        cut = {key: value for key, value in written.items() if key in {"maxLength", "maxItems"}}
        assert cut | without_defaults(by_model[path]) == written, path


def without_defaults(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "default"}


def test_required_fields_are_those_of_the_crd() -> None:
    document = ProfileSpec.model_json_schema()
    by_model = {path: set(schema.get("required", ())) for path, schema in model_fields(document, document, "spec")}
    by_crd = {f.path: set(f.schema.get("required", ())) for f in fields(root()) if f.path.startswith("spec")}
    assert by_model == by_crd


def test_spec_is_immutable() -> None:
    spec = ProfileSpec.model_validate(SMALLEST)
    with pytest.raises(ValidationError, match="frozen"):
        spec.suspend = True  # type: ignore[misc]


def test_fields_of_newer_versions_are_ignored() -> None:
    assert ProfileSpec.model_validate({**SMALLEST, "comesLater": {"a": 1}}) == ProfileSpec.model_validate(SMALLEST)


def test_null_is_absent() -> None:
    nulls: Spec = {"mode": None, "release": None, "serverPool": {"name": None, "labels": {"a": None}}}
    assert ProfileSpec.model_validate(merged(SMALLEST, nulls)) == ProfileSpec.model_validate(SMALLEST)


def test_null_is_not_a_node_class() -> None:
    with pytest.raises(ValidationError, match="nodeClassRef"):
        ProfileSpec.model_validate({"nodeClassRef": None})


@pytest.mark.parametrize("value", ["true", 1, "yes"])
def test_words_are_not_booleans(value: object) -> None:
    with pytest.raises(ValidationError, match="suspend"):
        ProfileSpec.model_validate({**SMALLEST, "suspend": value})


@pytest.mark.parametrize("value", ["2", True, 2.5])
def test_words_are_not_numbers(value: object) -> None:
    with pytest.raises(ValidationError, match="maxCorrectionsPerDay"):
        ProfileSpec.model_validate({**SMALLEST, "disruptions": {"maxCorrectionsPerDay": value}})


def test_pools_begin_with_the_server_pool() -> None:
    spec = ProfileSpec.model_validate(FULL)
    assert [(pool.name, pool.role) for pool in spec.pools] == [
        ("servers", Role.SERVER),
        ("content", Role.CONTENT),
        ("gpu", Role.CONTENT),
    ]


def test_node_class_of_a_pool_goes_before_that_of_the_profile() -> None:
    own = {**NODE_CLASS, "name": "own"}
    spec = ProfileSpec.model_validate({**SMALLEST, "contentPool": {"nodeClassRef": own}})
    assert spec.node_class(spec.server_pool).name == "default"
    assert spec.node_class(spec.content_pool).name == "own"


def test_lists_that_are_absent_are_empty_except_where_absent_means_more() -> None:
    spec = ProfileSpec.model_validate(SMALLEST)
    assert (spec.server_pool.requirements, spec.additional_content_pools, spec.server.topology_spread) == ((), (), ())
    assert spec.server_pool.disruption.budgets is None
    assert spec.content.topology_spread is None
    none = ProfileSpec.model_validate({**SMALLEST, "content": {"topologySpread": []}})
    assert none.content.topology_spread == ()


def test_names_of_python_are_understood_too() -> None:
    spec = ProfileSpec.model_validate(SMALLEST)
    assert spec.model_copy(update={"suspend": True}).suspend
    assert spec.server_pool.model_dump()["management"] is Management.MANAGED
    assert Budget(nodes="0", reasons=(DisruptionReason.EMPTY,)).model_dump(exclude_none=True)["nodes"] == "0"


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("Never", None),
        ("0s", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("1h30m", timedelta(minutes=90)),
        ("1h1h", timedelta(hours=2)),
        ("99999h", timedelta(hours=99999)),
    ],
)
def test_parse_duration(text: str, length: timedelta | None) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    ("budget", "forbids"),
    [
        ({"nodes": "0"}, True),
        ({"nodes": "00%"}, True),
        ({"nodes": "0", "reasons": ["Drifted"]}, True),
        ({"nodes": "10%"}, False),
        ({"nodes": "0", "reasons": ["Empty"]}, False),
        ({"nodes": "0", "schedule": "@daily", "duration": "1h"}, False),
    ],
)
def test_budget_forbids(budget: Spec, forbids: bool) -> None:  # noqa: FBT001 - a table
    assert Budget.model_validate(budget).forbids(DisruptionReason.DRIFTED) is forbids


def test_clip() -> None:
    assert clip("abc", 3) == "abc"
    assert clip("abcd", 3) == "ab…"


SCALARS = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(SCALARS, lambda below: st.lists(below) | st.dictionaries(st.text(), below))


@given(JSON | st.text(min_size=200))
def test_json_text_is_json_and_short(value: object) -> None:
    text = json_text(value)
    assert len(text.encode()) <= 256
    decoded = json.loads(text)
    assert decoded == value or decoded.endswith("…")


def test_long_json_text_is_cut_as_late_as_possible() -> None:
    assert json_text("a" * 254) == f'"{"a" * 254}"'
    assert len(json_text("a" * 255).encode()) >= 250


def test_status_dump_has_names_of_the_api_and_nothing_absent() -> None:
    now = datetime(2026, 8, 1, 14, 0, 0, 999, tzinfo=timezone(timedelta(hours=2)))
    ready = Condition(type="Ready", status=ConditionStatus.TRUE, reason="InSync", message="", last_transition_time=now)
    status = ProfileStatus(observed_generation=3, conditions=(ready,), heals=Heals(total=1, last_time=now))
    dumped = status.dump()
    assert dumped["observedGeneration"] == 3
    assert dumped["conditions"] == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "InSync",
            "message": "",
            "lastTransitionTime": "2026-08-01T12:00:00Z",
        }
    ]
    assert dumped["heals"] == {"total": 1, "lastTime": "2026-08-01T12:00:00Z"}
    assert not {"drift", "release", "lastCheckTime"} & dumped.keys()
    assert ProfileStatus.model_validate(dumped) == status


def test_times_need_a_zone() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        Heals(total=1, last_time=datetime(2026, 8, 1))  # noqa: DTZ001 - the very fault


def test_condition_by_type() -> None:
    ready = Condition(type="Ready", status=ConditionStatus.TRUE, reason="InSync", message="")
    status = ProfileStatus(conditions=(ready,))
    assert status.condition("Ready") is ready
    assert status.condition("Stalled") is None


def test_long_values_are_cut_not_refused() -> None:
    item = DriftItem.model_validate({"target": "a", "path": "/" + "p" * 600, "action": "Reported", "actual": "x" * 300})
    assert len(item.path) == 512
    assert item.actual is not None
    assert json.loads(item.actual).endswith("…")


def test_times_are_whole_seconds_in_utc() -> None:
    heals = Heals(total=1, last_time=datetime(2026, 8, 1, 12, 0, 0, 5, tzinfo=UTC))
    assert heals.last_time == datetime(2026, 8, 1, 12, tzinfo=UTC)
