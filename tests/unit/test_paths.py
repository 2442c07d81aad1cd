"""Paths: how they are written, read, matched against rules, and copied from one object to another."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.nodepools.paths import Element, Path, covers, get, pointer, transplant

TAINTS = ("spec", "template", "spec", "taints")
WORKLOAD = Element((("key", "workload"), ("effect", "NoSchedule")))
OTHER = Element((("key", "example.com/gpu"), ("effect", "NoExecute")))
FINALIZER = ("metadata", "finalizers", "connect-autoscaler.io/protect")


def taints(*keys: str) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"taints": [{"key": key, "effect": "NoSchedule"} for key in keys]}}}}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("spec", "weight"), "/spec/weight"),
        (("metadata", "labels", "app.kubernetes.io/name"), "/metadata/labels/app.kubernetes.io~1name"),
        (("a~b", "c/d"), "/a~0b/c~1d"),
        ((*TAINTS, WORKLOAD), "/spec/template/spec/taints[key=workload,effect=NoSchedule]"),
        ((*TAINTS, OTHER), "/spec/template/spec/taints[key=example.com/gpu,effect=NoExecute]"),
        (("",), "/"),
    ],
)
def test_pointer(path: Path, text: str) -> None:
    assert pointer(path) == text


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        ("/spec", ("spec", "weight"), True),
        ("/spec/weight", ("spec", "weight"), True),
        ("/spec/weigh", ("spec", "weight"), False),
        ("/spec/", ("spec", "weight"), True),
        ("/", ("spec", "weight"), True),
        ("/", ("",), True),
        ("/spec/weight/0", ("spec", "weight"), False),
        ("/spec/limits", ("spec", "limits", "nvidia.com/gpu"), True),
        ("/spec/limits/nvidia.com~1gpu", ("spec", "limits", "nvidia.com/gpu"), True),
        ("/spec/limits/nvidia.com/gpu", ("spec", "limits", "nvidia.com/gpu"), False),
        ("/spec/template/spec/taints", (*TAINTS, WORKLOAD), True),
        ("/spec/template/spec/taint", (*TAINTS, WORKLOAD), False),
        ("/spec/template/spec/taints[key=workload,effect=NoSchedule]", (*TAINTS, WORKLOAD), True),
        ("/spec/template/spec/taints[key=workload]", (*TAINTS, WORKLOAD), False),
        ("/spec/template/spec/startupTaints", (*TAINTS, WORKLOAD), False),
    ],
)
def test_covers(prefix: str, path: Path, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    assert covers(prefix, path) is expected


@given(st.lists(st.text(max_size=4), min_size=1, max_size=4).map(tuple))
def test_a_path_is_covered_by_itself_and_by_what_is_above_it(path: tuple[str, ...]) -> None:
    for depth in range(1, len(path) + 1):
        assert covers(pointer(path[:depth]), path)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=4).map(tuple))
def test_pointers_are_those_of_the_standard(path: tuple[str, ...]) -> None:
    parts = pointer(path).split("/")[1:]
    assert tuple(part.replace("~1", "/").replace("~0", "~") for part in parts) == path


def test_get() -> None:
    document = {"a": {"b": 0}, "metadata": {"finalizers": ["x"]}, **taints("workload", "twice", "twice")}
    twice = Element((("key", "twice"), ("effect", "NoSchedule")))
    assert get(document, ("a", "b")) == 0
    assert get(document, ("a", "b", "c")) is None
    assert get(document, ("a", "c", "d")) is None
    assert get(document, (*TAINTS, WORKLOAD)) == {"key": "workload", "effect": "NoSchedule"}
    assert get(document, (*TAINTS, OTHER)) is None
    assert get(document, (*TAINTS, twice)) == [{"key": "twice", "effect": "NoSchedule"}] * 2
    assert get(document, ("metadata", "finalizers", "x")) == "x"
    assert get(document, ("metadata", "finalizers", "y")) is None
    assert get({}, (*TAINTS, WORKLOAD)) is None


def moved(target: dict[str, Any], source: dict[str, Any], path: Path) -> dict[str, Any]:
    transplant(target, source, path)
    return target


def test_transplant_of_fields() -> None:
    assert moved({}, {"spec": {"weight": 1}}, ("spec", "weight")) == {"spec": {"weight": 1}}
    assert moved({"spec": {"weight": 1, "x": 2}}, {"spec": {}}, ("spec", "weight")) == {"spec": {"x": 2}}
    assert moved({"spec": {"weight": 1}}, {"spec": {"weight": 2}}, ("spec", "weight")) == {"spec": {"weight": 2}}


def test_a_removal_leaves_no_empty_map_and_makes_none() -> None:
    # The API server answers 422 to an apply of `limits: {}`: it makes null of it.
    cpu = ("spec", "limits", "cpu")
    assert moved({"spec": {"weight": 1, "limits": {"cpu": "4"}}}, {"spec": {}}, cpu) == {"spec": {"weight": 1}}
    assert moved({"spec": {"weight": 1}}, {"spec": {}}, cpu) == {"spec": {"weight": 1}}
    annotation = ("spec", "template", "metadata", "annotations", "a")
    before = {"spec": {"template": {"metadata": {"labels": {"l": "v"}, "annotations": {"a": "b"}}}}}
    after = {"spec": {"template": {"metadata": {"labels": {"l": "v"}}}}}
    assert moved(before, {}, annotation) == after


def test_transplant_of_elements() -> None:
    assert moved(taints("a", "workload"), taints("b"), (*TAINTS, WORKLOAD)) == taints("a")
    assert moved(taints("a"), taints("b", "workload"), (*TAINTS, WORKLOAD)) == taints("a", "workload")
    assert moved({}, taints("workload"), (*TAINTS, WORKLOAD)) == taints("workload")
    assert moved({}, taints(), (*TAINTS, WORKLOAD)) == {}
    assert moved(taints("workload"), taints(), (*TAINTS, WORKLOAD)) == taints(), "a list that is required stays"
    assert moved(taints("workload"), {}, (*TAINTS, WORKLOAD)) == {}, "another one goes: empty is not absent"


def test_transplant_of_finalizers() -> None:
    def having(*finalizers: str) -> dict[str, Any]:
        return {"metadata": {"name": "x", **({"finalizers": list(finalizers)} if finalizers else {})}}

    *_, ours = FINALIZER
    assert moved(having(ours), having(), FINALIZER) == having()
    assert moved(having("a", ours), having("b"), FINALIZER) == having("a")
    assert moved(having("a"), having("b", ours), FINALIZER) == having("a", ours)
    assert moved(having(ours), having(ours), FINALIZER) == having(ours)


def test_source_is_never_changed() -> None:
    source = taints("workload")
    target = taints("a")
    transplant(target, source, (*TAINTS, WORKLOAD))
    assert source == taints("workload")
