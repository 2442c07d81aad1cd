"""Values documents: what is in effect, what is where, and what means the same."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.release.values import canonical, drop, effective, get, has, put, same
from unit.values_strategies import defaults, documents, helms

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("chart", "config", "expected"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": [1, 2]}, {"a": []}, {"a": []}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": None}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
        ({"a": False}, {"a": 0}, {"a": 0}),
    ],
)
def test_effective(chart: Json, config: Json, expected: Json) -> None:
    before = copy.deepcopy((chart, config))
    assert effective(chart, config) == expected
    assert (chart, config) == before


@given(defaults(), documents())
def test_what_is_in_effect_stays_in_effect(chart: Json, config: Json) -> None:
    found = effective(chart, config)
    assert effective(found, {}) == found
    assert effective(found, config) == found
    assert effective({}, found) == found
    assert None not in found.values()


DOCUMENT: Json = {"a": {"b": {"c": 1}}, "null": None, "list": [1], "empty": {}, "zero": 0, "": {"/~": "x"}}


@pytest.mark.parametrize(
    ("path", "value", "there"),
    [
        (("a", "b", "c"), 1, True),
        (("a", "b"), {"c": 1}, True),
        (("a", "x", "c"), None, False),
        (("a", "b", "c", "d"), None, False),
        (("null",), None, True),
        (("null", "x"), None, False),
        (("list", "0"), None, False),
        (("empty", "x"), None, False),
        (("zero",), 0, True),
        (("", "/~"), "x", True),
        (("x",), None, False),
    ],
)
def test_get_and_has(path: tuple[str, ...], value: object, there: bool) -> None:  # noqa: FBT001
    assert get(DOCUMENT, path) == value
    assert has(DOCUMENT, path) is there


@pytest.mark.parametrize("path", [("a", "b", "new"), ("null", "x"), ("list", "x"), ("zero", "x", "y"), ("new", "x")])
def test_put_and_drop(path: tuple[str, ...]) -> None:
    document = copy.deepcopy(DOCUMENT)
    put(document, path, "v")
    assert get(document, path) == "v"
    untouched = [key for key in DOCUMENT if key != path[0]]
    assert [document[key] for key in untouched] == [DOCUMENT[key] for key in untouched]
    drop(document, path)
    assert not has(document, path)
    drop(document, path)
    assert get(document, path[:-1]) is not None, "maps above stay"


def test_drop_of_what_is_not_there() -> None:
    document = copy.deepcopy(DOCUMENT)
    for path in (("x",), ("x", "y"), ("list", "0"), ("zero", "x")):
        drop(document, path)
    assert document == DOCUMENT


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (0, -0.0),
        (1048576, 1.048576e6),
        (True, "true"),
        (False, "false"),
        ({"a": None}, {}),
        ({"a": {"b": None}}, {"a": {}}),
        ([1, {"a": 2}], [1.0, {"a": 2.0, "b": None}]),
        ((1, 2), [1, 2]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (1, "1"),
        (None, None),
    ],
)
def test_the_same(one: object, other: object) -> None:
    assert same(one, other)
    assert same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, True),
        (0, False),
        (0, None),
        ("", None),
        (False, None),
        ({}, None),
        ([], None),
        ([], {}),
        ("true", "True"),
        (1.5, "1"),
        ([1, 2], [2, 1]),
        ([None], []),
        ({"a": 1}, {"a": 1, "b": 0}),
        ("a", ["a"]),
        (float("inf"), 1),
        (float("nan"), 0),
    ],
)
def test_not_the_same(one: object, other: object) -> None:
    assert not same(one, other)
    assert not same(other, one)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=2), below, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_a_value_is_the_same_as_what_comes_back_of_it(value: Any) -> None:
    assert same(value, copy.deepcopy(value))
    assert same(value, json.loads(json.dumps(value)))
    assert same(value, helms(value))
    assert canonical(canonical(value)) == canonical(value)
