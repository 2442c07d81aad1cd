"""Lists of values that are merged by key, not replaced: what identifies an element, and what makes it superfluous.

Keys are those of Kubernetes' own merge (``k8s.io/api/core/v1``, patchMergeKey and list-map keys).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connect_autoscaler.release.values import Path, same

SERVER_TOLERATIONS: Final[Path] = ("tolerations",)
SERVER_SPREAD: Final[Path] = ("topologySpreadConstraints",)
JOB_BASE: Final[Path] = ("backends", "kubernetes", "defaultResourceJobBase")
JOB_POD: Final[Path] = (*JOB_BASE, "spec", "template", "spec")
JOB_TOLERATIONS: Final[Path] = (*JOB_POD, "tolerations")
JOB_SPREAD: Final[Path] = (*JOB_POD, "topologySpreadConstraints")
RENDERED: Final[Path] = ("config", "Kubernetes", "RenderedContentAnnotation")

_EXISTS: Final = "Exists"

Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class KeyedList:
    """How the elements of one list are told apart."""

    key: Callable[[Any], Key]
    """Names and values that identify an element."""
    serves: Callable[[Any, Any], bool]
    """Whether an element that is there already does what a wanted one would."""
    shown: tuple[str, ...]
    """Names of the key that a path shows."""

    def name(self, item: Any) -> str:
        """The element in a path, such as ``[key=workload,effect=NoSchedule]``."""
        return "[" + ",".join(f"{name}={value}" for name, value in self.key(item) if name in self.shown and value) + "]"


def elements(value: Any) -> list[Any]:
    """The elements of a list that may be written as a scalar, or not at all."""
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def toleration_key(item: Any) -> Key:
    """Key, operator, value and effect; the operator is Equal unless it says otherwise."""
    fields = item if isinstance(item, Mapping) else {}
    operator = fields.get("operator") or "Equal"
    value = "" if operator == _EXISTS else _text(fields.get("value"))
    return (
        ("key", _text(fields.get("key"))),
        ("operator", operator),
        ("value", value),
        ("effect", _text(fields.get("effect"))),
    )


def tolerates(existing: Any, wanted: Any) -> bool:
    """Whether a toleration covers the taint that another one is meant for.

    Source: ``k8s.io/api/core/v1`` ``Toleration.ToleratesTaint``. One with tolerationSeconds covers it for a while only.
    """
    if same(existing, wanted):
        return True
    have, want = dict(toleration_key(existing)), dict(toleration_key(wanted))
    if isinstance(existing, Mapping) and existing.get("tolerationSeconds") is not None:
        return False
    if have["effect"] not in {"", want["effect"]} or have["key"] not in {"", want["key"]}:
        return False
    if have["operator"] == _EXISTS:
        return True
    return have["key"] == want["key"] and want["operator"] != _EXISTS and have["value"] == want["value"]


def spread_key(item: Any) -> Key:
    """``topologyKey`` and ``whenUnsatisfiable``."""
    fields = item if isinstance(item, Mapping) else {}
    return tuple((name, _text(fields.get(name))) for name in ("topologyKey", "whenUnsatisfiable"))


def annotation_key(item: Any) -> Key:
    """What stands before the first ``=``."""
    return (("key", _text(item).partition("=")[0].strip()),)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


_TOLERATIONS: Final = KeyedList(toleration_key, tolerates, ("key", "effect"))
_SPREAD: Final = KeyedList(spread_key, same, ("topologyKey", "whenUnsatisfiable"))
_ANNOTATIONS: Final = KeyedList(annotation_key, same, ("key",))

LISTS: Final[Mapping[Path, KeyedList]] = {
    SERVER_TOLERATIONS: _TOLERATIONS,
    SERVER_SPREAD: _SPREAD,
    JOB_TOLERATIONS: _TOLERATIONS,
    JOB_SPREAD: _SPREAD,
    RENDERED: _ANNOTATIONS,
}
