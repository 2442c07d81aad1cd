"""Whoever has profiles of the last release can keep them: the CRD is held against that of the last tag."""

import copy
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from crd_schema import CRD_FILE, crd
from unit.crd_compat import Change, changes

Json = dict[str, Any]
ROOT = CRD_FILE.parents[1]
SPEC = "v1alpha1.spec"


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_it_is_compatible_with_the_last_release() -> None:
    tag = git("describe", "--tags", "--abbrev=0").stdout.strip()
    if not tag:
        pytest.skip("no release has been tagged yet")
    shown = git("show", f"{tag}:{CRD_FILE.relative_to(ROOT)}")
    assert shown.returncode == 0, shown.stderr
    found = list(changes(yaml.safe_load(shown.stdout), crd()))
    print(f"since {tag}:", *(each for each in found if not each.breaks), sep="\n")
    assert [each for each in found if each.breaks] == []


def test_it_is_compatible_with_itself() -> None:
    assert list(changes(crd(), crd())) == []


def at(document: Json, path: str) -> Json:
    """Return the schema of a field in the spec."""
    schema = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for name in filter(None, path.split(".")):
        schema = schema["items"] if name == "[]" else schema["properties"][name]
    result: Json = schema
    return result


def put(path: str, **keywords: Any) -> Callable[[Json], None]:
    """Set keywords of a field; those that are None go."""

    def mutate(document: Json) -> None:
        schema = at(document, path)
        schema.update({key.replace("_", "-"): value for key, value in keywords.items()})
        for key in [key for key, value in schema.items() if value is None]:
            del schema[key]

    return mutate


def drop(path: str, name: str) -> Callable[[Json], None]:
    return lambda document: at(document, path)["properties"].pop(name)


def add(path: str, name: str, schema: Json, *, required: bool = False) -> Callable[[Json], None]:
    def mutate(document: Json) -> None:
        parent = at(document, path)
        parent["properties"][name] = schema
        if required:
            parent.setdefault("required", []).append(name)

    return mutate


def demand(path: str, name: str) -> Callable[[Json], None]:
    return lambda document: at(document, path).setdefault("required", []).append(name)


def top(**settings: Any) -> Callable[[Json], None]:
    return lambda document: document["spec"].update(settings)


def name(**settings: Any) -> Callable[[Json], None]:
    return lambda document: document["spec"]["names"].update(settings)


def of_version(**settings: Any) -> Callable[[Json], None]:
    return lambda document: document["spec"]["versions"][0].update(settings)


def another_version(document: Json) -> None:
    document["spec"]["versions"][0]["storage"] = False
    document["spec"]["versions"].append({**copy.deepcopy(crd()["spec"]["versions"][0]), "name": "v1beta1"})


def without_the_version(document: Json) -> None:
    document["spec"]["versions"][0]["name"] = "v1beta1"


STRING = {"type": "string", "maxLength": 9}
RULE = [{"rule": "self.size() > 0", "message": "must not be empty"}]
BREAKING: dict[str, tuple[Callable[[Json], None], str, str]] = {
    "group": (top(group="example.com"), "spec", "group was"),
    "scope": (top(scope="Namespaced"), "spec", "scope was Cluster, and is Namespaced"),
    "kind": (name(kind="Profile"), "spec.names", "kind was"),
    "plural": (name(plural="profiles"), "spec.names", "plural was"),
    "short name": (name(shortNames=["prof"]), "spec.names.shortNames", "cap is gone"),
    "removed version": (without_the_version, "v1alpha1", "the version is gone"),
    "version not served": (of_version(served=False), "v1alpha1", "the version is gone"),
    "subresource": (of_version(subresources={}), "v1alpha1", "the subresource status is gone"),
    "removed field": (drop("", "recovery"), f"{SPEC}.recovery", "is gone"),
    "removed field below": (drop("release.chart", "oci"), f"{SPEC}.release.chart.oci", "is gone"),
    "removed field of items": (
        drop("additionalContentPools.[]", "weight"),
        f"{SPEC}.additionalContentPools[].weight",
        "is gone",
    ),
    "newly required": (demand("", "release"), f"{SPEC}.release", "is required"),
    "new and required": (add("release", "kind", STRING, required=True), f"{SPEC}.release.kind", "is required"),
    "type": (put("interval", type="integer"), f"{SPEC}.interval", "type was string, and is integer"),
    "int or string": (
        put("interval", x_kubernetes_int_or_string=True, type=None),
        f"{SPEC}.interval",
        "type was string, and is None",
    ),
    "fewer values": (put("mode", enum=["Plan"]), f"{SPEC}.mode", "enum has no Enforce any more"),
    "new enum": (put("release.name", enum=["connect"]), f"{SPEC}.release.name", "enum has no anything any more"),
    "other pattern": (put("release.name", pattern="^a$"), f"{SPEC}.release.name", "pattern was"),
    "new format": (put("release.name", format="uuid"), f"{SPEC}.release.name", "format was None, and is uuid"),
    "lower maximum": (put("serverPool.weight", maximum=10), f"{SPEC}.serverPool.weight", "maximum is lowered to 10"),
    "higher minimum": (put("serverPool.weight", minimum=5), f"{SPEC}.serverPool.weight", "minimum is raised to 5"),
    "shorter": (put("release.name", maxLength=3), f"{SPEC}.release.name", "maxLength is lowered to 3"),
    "longer": (put("release.name", minLength=3), f"{SPEC}.release.name", "minLength is raised to 3"),
    "fewer items": (
        put("serverPool.requirements", maxItems=1),
        f"{SPEC}.serverPool.requirements",
        "maxItems is lowered to 1",
    ),
    "default": (put("interval", default="10m"), f"{SPEC}.interval", "the default was 5m, and is 10m"),
    "no default": (put("interval", default=None), f"{SPEC}.interval", "the default was 5m, and is None"),
    "list type": (
        put("additionalContentPools", x_kubernetes_list_type="atomic"),
        f"{SPEC}.additionalContentPools",
        "x-kubernetes-list-type was map, and is atomic",
    ),
    "list keys": (
        put("additionalContentPools", x_kubernetes_list_map_keys=["weight"]),
        f"{SPEC}.additionalContentPools",
        "x-kubernetes-list-map-keys was",
    ),
    "values of a map": (
        lambda document: at(document, "serverPool.labels")["additionalProperties"].update(maxLength=1),
        f"{SPEC}.serverPool.labels{{}}",
        "maxLength is lowered to 1",
    ),
    "a keyword that nobody foresaw": (put("interval", nullable=False), f"{SPEC}.interval", "nullable was None"),
}
HARMLESS: dict[str, Callable[[Json], None]] = {
    "new field": add("release", "note", STRING),
    "new field with a default": add("release", "note", {**STRING, "default": "x"}, required=True),
    "more values": put("mode", enum=["Enforce", "Plan", "Rehearse"]),
    "no pattern": put("release.name", pattern=None),
    "no rules": put("", x_kubernetes_validations=None),
    "higher maximum": put("serverPool.weight", maximum=1000),
    "no minimum": put("serverPool.weight", minimum=None),
    "more items": put("serverPool.requirements", maxItems=1000),
    "words": put("interval", description="Something else."),
    "not required": put("release", required=None),
    "columns": of_version(additionalPrinterColumns=[]),
    "another short name": name(shortNames=["cap", "prof"]),
}
THINK: dict[str, tuple[Callable[[Json], None], str]] = {
    "new rule": (
        put("interval", x_kubernetes_validations=RULE),
        "a new rule, which old objects may break: self.size()",
    ),
    "another version is stored": (another_version, "another version is stored"),
}


def found(mutate: Callable[[Json], None]) -> list[Change]:
    document = copy.deepcopy(crd())
    mutate(document)
    assert document != crd()
    return list(changes(crd(), document))


@pytest.mark.parametrize("case", BREAKING)
def test_what_breaks_is_found(case: str) -> None:
    mutate, path, what = BREAKING[case]
    change, *others = found(mutate)
    assert (change.path, change.breaks) == (path, True)
    assert change.what.startswith(what)
    assert {each.path for each in others} <= {path}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_loosened_or_added_is_not(case: str) -> None:
    assert found(HARMLESS[case]) == []


@pytest.mark.parametrize("case", THINK)
def test_what_may_break_is_told_apart(case: str) -> None:
    mutate, what = THINK[case]
    (change,) = found(mutate)
    assert change.what.startswith(what)
    assert not change.breaks
