"""The CRD as tests read it: every field with its path, every rule with the place it stands at."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CRD_FILE = Path(__file__).parent.parent / "crds" / "connectautoscalingprofiles.yaml"
POOLS = ("serverPool", "contentPool", "additionalContentPools[]")


@dataclass(frozen=True)
class Field:
    """A schema in the CRD, and where.

    Attributes:
        path: Names with dots between them, `[]` for the items of a list, `{}` for the values of a map.
        schema: The schema itself.
        required: Whether the object above demands it.
    """

    path: str
    schema: dict[str, Any]
    required: bool = False

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def is_property(self) -> bool:
        return not self.path.endswith(("[]", "{}"))

    @property
    def in_status(self) -> bool:
        return self.path.startswith("status")


@dataclass(frozen=True)
class Rule:
    """A CEL rule of the CRD, and the field that it complains about."""

    path: str
    rule: str
    message: str

    @property
    def is_transition(self) -> bool:
        return "oldSelf" in self.rule


@cache
def crd() -> dict[str, Any]:
    """Return the definition as it is written."""
    result: dict[str, Any] = yaml.safe_load(CRD_FILE.read_text())
    return result


def version() -> dict[str, Any]:
    """Return the only version."""
    (result,) = crd()["spec"]["versions"]
    return dict(result)


def root() -> dict[str, Any]:
    """Return the schema of the whole object."""
    return dict(version()["schema"]["openAPIV3Schema"])


def fields(schema: dict[str, Any], path: str = "", *, required: bool = False) -> Iterator[Field]:
    """Yield a schema and everything below it."""
    yield Field(path, schema, required)
    demanded = schema.get("required", ())
    for name, below in schema.get("properties", {}).items():
        yield from fields(below, f"{path}.{name}".lstrip("."), required=name in demanded)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from fields(schema[key], path + mark)


def rules() -> Iterator[Rule]:
    """Yield every CEL rule of the CRD."""
    for field in fields(root()):
        for each in field.schema.get("x-kubernetes-validations", ()):
            yield Rule(f"{field.path}{each.get('fieldPath', '')}", each["rule"], each["message"])
