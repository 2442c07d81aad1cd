"""Rules for the schemas of the CRD, after kube-api-linter, each with a schema that breaks it."""

import json
import re
from collections.abc import Callable
from typing import Any

from crd_schema import Field

Schema = dict[str, Any]

MAPS = {"labels", "annotations", "limits"}
BOOLEANS = {"suspend", "deletionProtection", "owned", "serverRestartPending"}
MAY_BE_EMPTY = re.compile(r"(values\[\]|labels\{\}|annotations\{\}|message|lastHandledReconcileAt)$")
KEYWORDS = {
    "additionalProperties", "anyOf", "default", "description", "enum", "format", "items", "maxItems", "maxLength",
    "maxProperties", "maximum", "minItems", "minLength", "minimum", "pattern", "properties", "required", "type",
    "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-validations",
}  # fmt: skip


def is_string(schema: Schema) -> bool:
    return schema.get("type") == "string"


def is_int_or_string(schema: Schema) -> bool:
    return bool(schema.get("x-kubernetes-int-or-string"))


def described(field: Field) -> bool:
    text = field.schema.get("description", "")
    return len(text) >= 10 and not text[0].islower() and text.endswith(".")


def says_its_default(field: Field) -> bool:
    default = field.schema.get("default", {})
    if isinstance(default, dict) or not field.is_property:
        return True
    return (
        f"Default {json.dumps(default) if default in ('true', True, False) else default}."
        in field.schema["description"]
    )


def keyword_known(field: Field) -> bool:
    return field.schema.keys() <= KEYWORDS


def typed(field: Field) -> bool:
    return field.schema.get("type") in {"object", "array", "string", "integer", "boolean"} or is_int_or_string(
        field.schema
    )


def not_nullable(field: Field) -> bool:
    return not field.schema.get("nullable")


def nothing_unknown_is_kept(field: Field) -> bool:
    return not field.schema.get("x-kubernetes-preserve-unknown-fields") and not field.schema.get(
        "x-kubernetes-embedded-resource"
    )


def no_float(field: Field) -> bool:
    return field.schema.get("type") != "number" and field.schema.get("format") not in {"float", "double"}


def integer_sized(field: Field) -> bool:
    return field.schema.get("type") != "integer" or field.schema.get("format") in {"int32", "int64"}


def number_bounded(field: Field) -> bool:
    if field.schema.get("type") != "integer" and not is_int_or_string(field.schema):
        return True
    return {"minimum", "maximum"} <= field.schema.keys()


def max_length(field: Field) -> bool:
    if not (is_string(field.schema) or is_int_or_string(field.schema)):
        return True
    return "maxLength" in field.schema or "enum" in field.schema


def min_length(field: Field) -> bool:
    if not (is_string(field.schema) or is_int_or_string(field.schema)) or MAY_BE_EMPTY.search(field.path):
        return True
    return bool(field.schema.get("minLength") or field.schema.get("enum") or field.schema.get("format"))


def list_bounded(field: Field) -> bool:
    return field.schema.get("type") != "array" or "maxItems" in field.schema


def list_type(field: Field) -> bool:
    if field.schema.get("type") != "array":
        return True
    kind, items = field.schema.get("x-kubernetes-list-type"), field.schema["items"]
    keys = field.schema.get("x-kubernetes-list-map-keys", [])
    if kind == "map":
        return bool(keys) and set(keys) <= set(items["required"])
    return not keys and (kind == "atomic" or (kind == "set" and items["type"] == "string"))


def map_bounded(field: Field) -> bool:
    return "additionalProperties" not in field.schema or "maxProperties" in field.schema


def map_keys_bounded(field: Field) -> bool:
    if "additionalProperties" not in field.schema:
        return True
    return any("k.size() <=" in rule["rule"] for rule in field.schema.get("x-kubernetes-validations", ()))


def maps_are_the_usual_ones(field: Field) -> bool:
    return "additionalProperties" not in field.schema or field.name in MAPS


def booleans_are_the_agreed_ones(field: Field) -> bool:
    return field.schema.get("type") != "boolean" or field.name in BOOLEANS


def no_phase(field: Field) -> bool:
    # The step of one piece of work is not the state of the object, which conditions tell.
    return "phase" not in field.name.lower() or field.path == "status.attempt.phase"


def no_timestamp(field: Field) -> bool:
    return "timestamp" not in field.name.lower()


def camel_case(field: Field) -> bool:
    name = field.name.rstrip("[]{}")
    return not name or bool(re.fullmatch(r"[a-z][A-Za-z0-9]*", name))


def enum_camel_case(field: Field) -> bool:
    return all(re.fullmatch(r"[A-Z][A-Za-z]*", value) for value in field.schema.get("enum", ()))


def required_or_optional(field: Field) -> bool:
    demanded = field.schema.get("required", ())
    return all(name in field.schema["properties"] for name in demanded) and not (
        field.required and "default" in field.schema
    )


def objects_are_closed(field: Field) -> bool:
    if field.schema.get("type") != "object":
        return True
    return ("properties" in field.schema) != ("additionalProperties" in field.schema)


def no_default_on_lists(field: Field) -> bool:
    # Users extend them, or an absent one has a meaning of its own.
    return field.schema.get("type") != "array" or "default" not in field.schema


def no_empty_default(field: Field) -> bool:
    return field.schema.get("default") != ""


def no_default_in_status(field: Field) -> bool:
    return not field.in_status or "default" not in field.schema


def pattern_anchored(field: Field) -> bool:
    pattern = field.schema.get("pattern", "^$")
    return pattern.startswith("^") and pattern.endswith("$") and not re.search(r"\\[dwsbDWSB]", pattern)


def rules_speak(field: Field) -> bool:
    return all(
        ("must" in rule["message"]) and not rule["message"].endswith(".") and len(rule["message"]) <= 200
        for rule in field.schema.get("x-kubernetes-validations", ())
    )


STRING = {"type": "string"}
CHECKS: dict[Callable[[Field], bool], Schema] = {
    described: {"description": "x"},
    says_its_default: {"default": "5m", "description": "How long."},
    keyword_known: {"title": "x"},
    typed: {"description": "x"},
    not_nullable: {"nullable": True},
    nothing_unknown_is_kept: {"x-kubernetes-preserve-unknown-fields": True},
    no_float: {"type": "number"},
    integer_sized: {"type": "integer"},
    number_bounded: {"type": "integer", "minimum": 0},
    max_length: STRING,
    min_length: STRING,
    list_bounded: {"type": "array"},
    list_type: {"type": "array", "items": {**STRING, "required": []}, "x-kubernetes-list-type": "map"},
    map_bounded: {"additionalProperties": STRING},
    map_keys_bounded: {"additionalProperties": STRING},
    maps_are_the_usual_ones: {"additionalProperties": STRING},
    booleans_are_the_agreed_ones: {"type": "boolean"},
    no_phase: {"properties": {"phase": STRING}},
    no_timestamp: {"properties": {"startTimestamp": STRING}},
    camel_case: {"properties": {"start_time": STRING}},
    enum_camel_case: {"enum": ["whenIdle"]},
    required_or_optional: {"required": ["missing"], "properties": {}},
    objects_are_closed: {"type": "object"},
    no_default_on_lists: {"type": "array", "default": []},
    no_empty_default: {"default": ""},
    no_default_in_status: {"properties": {"status": {"default": "x"}}},
    pattern_anchored: {"pattern": "^[a-z]+"},
    rules_speak: {"x-kubernetes-validations": [{"rule": "false", "message": "wrong"}]},
}
