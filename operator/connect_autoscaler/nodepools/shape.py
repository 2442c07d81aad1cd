"""The form of a NodePool's fields, where the rest of the code relies on it.

Karpenter's CRD refuses any other form. Another make of it may not, and what was stored under one comes back under the
next as it is. A map or a list of another form counts as missing: so it differs from what is wanted, and is put right
or reported like any other difference. Plain values are compared as they are, whatever their type.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]
_PLAIN: Final = (str, bool, int, float, type(None))
_TAINTS: Final = ("key", "effect")
_REQUIREMENTS: Final = ("key", "operator")
_WORDS: Final = frozenset({"reasons", "values"})
_OF_TEMPLATE: Final[Mapping[str, Any]] = {
    "nodeClassRef": {},
    "requirements": _REQUIREMENTS,
    "taints": _TAINTS,
    "startupTaints": _TAINTS,
}
_OF_SPEC: Final[Mapping[str, Any]] = {
    "disruption": {"budgets": ()},
    "limits": {},
    "template": {"metadata": {"labels": {}, "annotations": {}}, "spec": _OF_TEMPLATE},
}
"""By field: what a map holds, or the texts that each element of a list has."""


def shaped(pool: Mapping[str, Any]) -> Json:
    """Return a NodePool whose spec and conditions have the form that others rely on; the rest is as it was."""
    status = pool.get("status")
    status = status if isinstance(status, dict) else {}
    conditions = status.get("conditions")
    judged = [each for each in conditions if _is_condition(each)] if isinstance(conditions, list) else []
    return {**pool, "spec": fitted(pool.get("spec"), _OF_SPEC), "status": {**status, "conditions": judged}}


def template_spec(found: Any) -> Json:
    """Return the spec of a NodeClaim, or of a NodePool's template, likewise."""
    return fitted(found, _OF_TEMPLATE)


def fitted(found: Any, fields: Mapping[str, Any]) -> Json:
    """Return a map without fields of another form; what is no map is empty."""
    if not isinstance(found, dict):
        return {}
    fit: Json = {}
    for name, value in found.items():
        form = fields.get(name)
        if form is None:
            fit[name] = value
        elif isinstance(form, Mapping):
            if isinstance(value, dict):
                fit[name] = fitted(value, form)
        elif _is_list(value, form):
            fit[name] = value
    return fit


def _is_list(found: Any, texts: Sequence[str]) -> bool:
    """Whether something is a list of maps that have these texts, and besides only plain values and lists of words."""
    return isinstance(found, list) and all(
        isinstance(each, dict)
        and all(isinstance(each.get(name), str) for name in texts)
        and all(_are_words(value) if name in _WORDS else isinstance(value, _PLAIN) for name, value in each.items())
        for each in found
    )


def _are_words(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def _is_condition(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), str) for name in ("type", "status"))
        and isinstance(found.get("observedGeneration", 0), int)
    )
