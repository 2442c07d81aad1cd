"""The CRD against the Kubernetes API conventions, one test per rule, after kube-api-linter.

Each rule is also shown a schema that breaks it, so that none passes by looking away.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from connect_autoscaler.api import names
from connect_autoscaler.api.spec import ProfileSpec
from connect_autoscaler.api.status import ProfileStatus
from crd_schema import CRD_FILE, POOLS, Field, crd, fields, root, rules, version
from unit.crd_checks import CHECKS, Schema

# kubectl apply keeps the whole object in an annotation; all annotations together must stay below this.
LARGEST_ANNOTATION = 262_144


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rule(check: Callable[[Field], bool]) -> None:
    assert [field.path for field in fields(root()) if not check(field)] == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rule_finds_an_offence(check: Callable[[Field], bool]) -> None:
    assert not all(check(field) for field in fields(CHECKS[check]))


def test_identity() -> None:
    spec = crd()["spec"]
    assert (spec["group"], spec["scope"], version()["name"]) == (names.GROUP, "Cluster", names.VERSION)
    assert crd()["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"
    assert spec["names"] == {
        "kind": names.KIND,
        "listKind": f"{names.KIND}List",
        "plural": names.PLURAL,
        "singular": names.KIND.lower(),
        "shortNames": ["cap"],
        "categories": ["connect"],
    }
    assert version()["served"]
    assert version()["storage"]
    assert "conversion" not in spec


def test_status_is_a_subresource() -> None:
    assert version()["subresources"] == {"status": {}}
    assert set(root()["properties"]) == {"spec", "status"}
    assert root()["required"] == ["spec"]


def test_smallest_profile_is_a_node_class() -> None:
    assert root()["properties"]["spec"]["required"] == ["nodeClassRef"]


def test_conditions_are_those_of_kubernetes() -> None:
    conditions = root()["properties"]["status"]["properties"]["conditions"]
    assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])
    assert set(conditions["items"]["required"]) == {"type", "status", "reason", "message", "lastTransitionTime"}
    assert conditions["items"]["properties"]["status"]["enum"] == ["True", "False", "Unknown"]


def test_columns() -> None:
    columns = version()["additionalPrinterColumns"]
    narrow = [column["name"].upper() for column in columns if not column.get("priority")]
    wide = [column["name"].upper() for column in columns if column.get("priority")]
    assert narrow == ["READY", "DRIFTED", "SERVER", "CONTENT", "RELEASE", "AGE"]
    assert wide == ["MODE", "STATUS"]
    known = {field.path.replace("[]", "") for field in fields(root())} | {"metadata.creationTimestamp"}
    for column in columns:
        path = re.sub(r"\[\?\(.*?\)\]", "", column["jsonPath"]).lstrip(".")
        assert path in known, column["name"]


def test_size_leaves_room_for_kubectl_apply() -> None:
    assert len(json.dumps(crd())) < LARGEST_ANNOTATION / 2
    assert CRD_FILE.stat().st_size < LARGEST_ANNOTATION


def test_no_key_is_a_boolean_of_yaml() -> None:
    def keys(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [*value, *(key for below in value.values() for key in keys(below))]
        return [key for below in value for key in keys(below)] if isinstance(value, list) else []

    assert [key for key in keys(crd()) if not isinstance(key, str)] == []


def test_defaults_of_objects_are_those_of_their_leaves() -> None:
    for field in fields(root()):
        if default := field.schema.get("default"):
            leaves = field.schema.get("properties", {})
            if isinstance(default, dict):
                assert default == {name: leaf["default"] for name, leaf in leaves.items()}, field.path


def test_there_are_many_cross_field_rules() -> None:
    assert len({rule.message for rule in rules()}) >= 20


def differing(one: Schema, other: Schema, path: str = "") -> set[str]:
    """Return the paths at which two schemas of pools differ, their texts and default values aside."""
    return {
        f"{path}.{key}".lstrip(".")
        for key in one.keys() | other.keys()
        if key not in {"description", "default", "properties", "items"} and one.get(key) != other.get(key)
    }.union(
        *(
            differing(one["properties"].get(name, {}), other["properties"].get(name, {}), f"{path}.{name}")
            for name in one.get("properties", {}).keys() | other.get("properties", {}).keys()
        ),
        *([differing(one["items"], other["items"], f"{path}[]")] if "items" in one and "items" in other else []),
    )


def test_pools_have_one_schema() -> None:
    found = {field.path: field.schema for field in fields(root())}
    server, content, additional = (found[f"spec.{pool}"] for pool in POOLS)
    assert differing(content, additional) == {"required", "name.x-kubernetes-validations"}
    assert differing(server, content) == {
        "x-kubernetes-validations",
        "disruption.consolidationPolicy.x-kubernetes-validations",
        "disruption.budgets.x-kubernetes-validations",
    }


@pytest.mark.parametrize(
    ("model", "path"),
    [(ProfileSpec, "spec"), (ProfileStatus, "status")],
)
def test_models_name_the_same_fields(model: type[ProfileSpec], path: str) -> None:
    (schema,) = (field.schema for field in fields(root()) if field.path == path)
    assert aliases(model.model_json_schema(), model.model_json_schema()) == nested(schema)


def nested(schema: Schema) -> Any:
    """Return the names of the properties, down to the leaves."""
    if "items" in schema:
        return nested(schema["items"])
    return {name: nested(below) for name, below in schema.get("properties", {}).items()}


def aliases(schema: Schema, document: Schema) -> Any:
    """Return the same of a JSON schema that pydantic made."""
    for alternative in schema.get("anyOf", ()):
        if alternative.get("type") != "null":
            return aliases(alternative, document)
    if "$ref" in schema:
        return aliases(document["$defs"][schema["$ref"].rpartition("/")[2]], document)
    if "items" in schema:
        return aliases(schema["items"], document)
    return {name: aliases(below, document) for name, below in schema.get("properties", {}).items()}
