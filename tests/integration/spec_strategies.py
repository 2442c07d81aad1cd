"""Specs by chance: valid ones, nearly valid ones, and some that are badly wrong."""

from typing import Any

from hypothesis import strategies as st

from crd_schema import fields, root
from integration.crd_spec_cases import CASES
from profile_specs import FULL, SMALLEST, Spec, merged, with_value

JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 2**53, "", "a", "Never", "0s", "10%", "é" * 20, [], ["a"], {}]
)
GONE = object()

# Bare fields, and the containers that the full spec has: entries are changed through what is in them.
FIELDS = [field for field in fields(root()) if field.path.startswith("spec.")]


def around(*bounds: int | None) -> st.SearchStrategy[int]:
    """Return integers at bounds and next to them."""
    return st.sampled_from([bound + step for bound in bounds if bound is not None for step in (-1, 0, 1)])


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values of the right type, most of them valid."""
    match schema.get("type"):
        case "string" if "enum" in schema:
            return st.sampled_from(schema["enum"])
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"])
        case "string":
            return st.text(max_size=schema["maxLength"] + 1)
        case "integer":
            return around(schema["minimum"], schema["maximum"])
        case "boolean":
            return st.booleans()
        case "array":
            return st.just([])
        case "object":
            return st.sampled_from([{}, {"a": "b"}] if "additionalProperties" in schema else [{}])
        case _:
            return st.one_of(st.from_regex(schema["pattern"]), around(schema["minimum"], schema["maximum"]))


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, Any]:
    """Return a field and its new value, or that it is gone."""
    field = draw(st.sampled_from(FIELDS))
    usual = values(field.schema)
    return field.path.removeprefix("spec."), draw(st.one_of(usual, usual, usual, JUNK, st.just(GONE)))


def changed(spec: Spec, path: str, value: Any) -> Spec:
    """Return the spec with the change, if it has the place for it."""
    try:
        result = with_value(spec, path, value)
    except (LookupError, TypeError, ValueError, AttributeError):
        return spec
    return _pruned(result) if value is GONE else result


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(below) for key, below in value.items() if below is not GONE}
    return [_pruned(below) for below in value if below is not GONE] if isinstance(value, list) else value


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Return a spec: a small or a full one, with patches that keep and that break rules, and changed fields."""
    spec = draw(st.sampled_from([SMALLEST, FULL]))
    good = st.sampled_from([patch for case in CASES for patch in case.accept])
    bad = st.sampled_from([patch for case in CASES if case.before is None for patch in case.reject])
    for patch in draw(st.lists(st.one_of(good, good, good, bad), max_size=3)):
        spec = merged(spec, patch)
    for path, value in draw(st.lists(changes(), max_size=4)):
        spec = changed(spec, path, value)
    return spec
