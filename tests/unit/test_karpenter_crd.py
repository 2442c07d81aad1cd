"""What the NodePool CRDs of real Karpenters say that they can do, and that what is rendered fits them."""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from connect_autoscaler.nodepools.compare import _DEFAULTS
from connect_autoscaler.nodepools.karpenter import Karpenter
from connect_autoscaler.nodepools.paths import KEYED_LISTS, pointer
from sandbox.build import find
from unit.builders import KARPENTER_1_14, KARPENTER_1_15

Json = dict[str, Any]


@cache
def _read(version: str) -> Json:
    text = (find(f"karpenter-{version}-crds") / "karpenter.sh_nodepools.yaml").read_text()
    return dict(yaml.safe_load(text))


def crd(version: str) -> Json:
    return copy.deepcopy(_read(version))


def schema_of(definition: Json, *path: str) -> Json:
    node: Json = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for part in path:
        node = node["items"] if part == "[]" else node["properties"][part]
    return node


LABELS = ("spec", "template", "metadata", "labels")
POLICY = ("spec", "disruption", "consolidationPolicy")


def like_1_13() -> Json:
    """1.14 without what it brought: the policy Balanced."""
    result = crd("1.14")
    schema_of(result, *POLICY)["enum"].remove("Balanced")
    return result


def like_1_12() -> Json:
    """And without what 1.13 brought: template labels as one atomic map."""
    result = like_1_13()
    schema_of(result, *LABELS)["x-kubernetes-map-type"] = "granular"
    return result


def test_1_14() -> None:
    found = Karpenter.from_crd(crd("1.14"))
    assert found == KARPENTER_1_14
    assert found.supported


def test_1_15() -> None:
    found = Karpenter.from_crd(crd("1.15"))
    assert found == KARPENTER_1_15
    assert found.supported
    assert found.budget_reasons - KARPENTER_1_14.budget_reasons == {"Unhealthy"}


def test_1_13() -> None:
    found = Karpenter.from_crd(like_1_13())
    assert found.supported
    assert found.consolidation_policies == {"WhenEmpty", "WhenEmptyOrUnderutilized"}


def test_1_12_is_too_old() -> None:
    assert not Karpenter.from_crd(like_1_12()).supported


def test_an_absent_map_type_is_too_old() -> None:
    old = like_1_12()
    del schema_of(old, *LABELS)["x-kubernetes-map-type"]
    assert not Karpenter.from_crd(old).supported


@pytest.mark.parametrize("change", [{"name": "v1beta1"}, {"served": False}])
def test_v1_has_to_be_served(change: Json) -> None:
    other = crd("1.14")
    other["spec"]["versions"][0].update(change)
    found = Karpenter.from_crd(other)
    assert not found.supported
    assert found.operators == frozenset()


def test_the_served_version_counts_whichever_place_it_has() -> None:
    both = crd("1.14")
    beta = copy.deepcopy(both["spec"]["versions"][0])
    beta["name"] = "v1beta1"
    schema_of({"spec": {"versions": [beta]}}, *POLICY)["enum"] = ["Old"]
    both["spec"]["versions"].insert(0, beta)
    assert Karpenter.from_crd(both) == KARPENTER_1_14


def defaults(schema: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if "default" in schema and schema.get("type") != "object":
        yield path, schema["default"]
    for name, below in schema.get("properties", {}).items():
        yield from defaults(below, (*path, name))


@pytest.mark.parametrize("version", ["1.14", "1.15"])
def test_every_default_of_the_crd_is_known_to_the_comparison(version: str) -> None:
    found = dict(defaults(schema_of(crd(version), "spec"), ("spec",)))
    # 1.14 has this one as the default of the object around it.
    found.setdefault(("spec", "disruption", "consolidateAfter"), "0s")
    assert found == dict(_DEFAULTS)


@pytest.mark.parametrize("version", ["1.14", "1.15"])
def test_lists_that_are_compared_by_key_are_atomic(version: str) -> None:
    # Atomic lists are owned whole, so an apply puts them back whole, and their owner answers for each element.
    for path in KEYED_LISTS:
        found = schema_of(crd(version), *(str(part) for part in path))
        assert found["type"] == "array", pointer(path)
        assert found.get("x-kubernetes-list-type", "atomic") == "atomic", pointer(path)
    assert schema_of(crd(version), "spec", "disruption", "budgets")["x-kubernetes-list-type"] == "atomic"
    granular = schema_of(crd(version), "spec", "template", "metadata", "annotations")
    assert granular.get("x-kubernetes-map-type", "granular") == "granular"
    assert schema_of(crd(version), "spec", "limits").get("x-kubernetes-map-type", "granular") == "granular"
