"""The reference of the resource, made of its definition."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from crd_schema import Field, fields, root, rules

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "crd.md"
_HEAD: Final = """\
# Every field

`ConnectAutoscalingProfile`, `connect-autoscaler.io/v1alpha1`, as `crds/connectautoscalingprofiles.yaml` defines it;
[the overview](profile.md) is shorter. `[]` stands for the items of a list, `{}` for the values of a map. The API server
also checks [the rules](#rules) at the end.
"""


def page() -> str:
    return "".join(_page())


def _page() -> Iterator[str]:
    yield _HEAD
    for name, schema in root()["properties"].items():
        plain = {key: each for key, each in schema["properties"].items() if not _has_parts(each)}
        yield f"\n## {name}\n\n{_line(schema['description'])}\n\n"
        yield from _table({**schema, "properties": plain}, name)
        for key in schema["properties"]:
            if key not in plain:
                yield f"\n### {name}.{key}\n\n"
                only = {**schema, "properties": {key: schema["properties"][key]}}
                yield from _table(only, name)
    yield "\n## Rules\n\nA profile that breaks one of these is refused, with the sentence.\n\n"
    yield "| at | must hold | sentence |\n|---|---|---|\n"
    for each in rules():
        yield f"| `{each.path or 'the object'}` | `{_cell(each.rule)}` | {_cell(each.message)} |\n"


def _has_parts(schema: dict[str, Any]) -> bool:
    return any("." in each.path for each in fields(schema, "x"))


def _table(schema: dict[str, Any], name: str) -> Iterator[str]:
    yield "| field | type | |\n|---|---|---|\n"
    for field in fields(schema, name):
        if field.path != name:
            path = field.path.removeprefix(f"{name}.")
            yield f"| `{path}` | {', '.join(_type(field))} | {_cell(field.schema['description'])} |\n"


def _type(field: Field) -> Iterator[str]:
    """Say what a value may be: type, bounds, default."""
    schema = field.schema
    kind = schema.get("type", "integer or string" if schema.get("x-kubernetes-int-or-string") else "any")
    yield f"**{kind}, required**" if field.required else kind
    if each := schema.get("enum"):
        yield f"one of {', '.join(f'`{value}`' for value in each)}"
    if each := schema.get("format"):
        yield str(each)
    for least, most, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " keys"),
    ):
        if least in schema or most in schema:
            low, high = schema.get(least, 0), schema.get(most)
            yield f"{low} to {high}{unit}" if high is not None else f"at least {low}{unit}"
    if each := schema.get("pattern"):
        yield f"`{_cell(each)}`"
    if each := schema.get("x-kubernetes-list-type"):
        keys = schema.get("x-kubernetes-list-map-keys")
        yield f"list by {', '.join(keys)}" if keys else f"{each} list"
    if "default" in schema:
        yield f"default `{_value(schema['default'])}`"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())


def test_page_of_fields_is_the_definition() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "UPDATE_GOLDEN=1 pytest tests/unit/test_docs_crd.py rewrites it"


def test_page_has_every_field_and_rule() -> None:
    text = page()
    for field in fields(root()):
        if field.path.startswith(("spec.", "status.")):
            assert f"\n| `{field.path.partition('.')[2]}` | " in text, field.path
    for rule in rules():
        assert f" | {_cell(rule.message)} |\n" in text, rule.path
