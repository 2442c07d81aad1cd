"""Who changed a field, and when, read from ``metadata.managedFields``.

Source of the format: ``sigs.k8s.io/structured-merge-diff``, ``fieldpath``: ``f:`` a field, ``k:`` an element of a
keyed list, ``v:`` a member of a set, ``.`` the thing itself beside its children. What has no children is owned whole.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connect_autoscaler.api.names import FIELD_MANAGER
from connect_autoscaler.nodepools.paths import Element, Path


@dataclass(frozen=True, slots=True)
class Author:
    """A field manager and the time of its last write (whole seconds, as the API server keeps it)."""

    manager: str
    time: str | None


UNKNOWN = Author("unknown", None)
"""Nobody: a removed field leaves no trace in managedFields (unless it stood in an atomic list or map)."""


def author(live: Mapping[str, Any], path: Path, *, own: str = FIELD_MANAGER) -> Author:
    """Name the manager that owns the field at ``path`` in the live object; the latest foreign one if shared.

    An atomic list or map is owned whole, so its owner answers for every element.

    Args:
        live: The object.
        path: Where in it.
        own: The manager whose work the field should be.
    """
    foreign = (owner for owner in owners(live, path) if owner.manager != own)
    return max(foreign, key=lambda owner: owner.time or "", default=UNKNOWN)


def culprit(live: Mapping[str, Any], path: Path, actual: Any) -> Author:
    """Name who made a difference of a live NodePool.

    A field that is ours alone, and yet is not as we want it, was written by another copy of the operator, maybe one of
    another cluster or of a profile that is gone: it uses the same field manager.

    Args:
        live: The NodePool.
        path: Of the difference.
        actual: What is there; None: nothing, and so there is no owner.
    """
    found = author(live, path)
    if found is UNKNOWN and actual is not None:
        return max(owners(live, path), key=lambda owner: owner.time or "", default=UNKNOWN)
    return found


def owners(live: Mapping[str, Any], path: Path) -> list[Author]:
    """Every manager that owns the field at ``path``."""
    return [
        Author(entry.get("manager", "unknown"), entry.get("time"))
        for entry in live["metadata"].get("managedFields", ())
        if not entry.get("subresource") and _owns(entry.get("fieldsV1", {}), path)
    ]


def _owns(fields: Mapping[str, Any], path: Path) -> bool:
    for part in path:
        below = _child(fields, part)
        if not below:
            return below is not None
        fields = below
    return True


def _child(fields: Mapping[str, Any], part: str | Element) -> Mapping[str, Any] | None:
    if isinstance(part, str):
        names = [f"f:{part}", f"v:{json.dumps(part)}"]
    else:
        key = dict(part.key)
        names = [name for name in fields if name.startswith("k:") and json.loads(name[2:]).items() <= key.items()]
    return next((fields[name] for name in names if name in fields), None)
