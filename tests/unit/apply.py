"""What the API server makes of the operator's writes to a NodePool: server-side apply and JSON patches.

A model for tests of pure code, small on purpose. It knows of NodePools (Karpenter >= 1.13) which maps and lists are
atomic, that an apply removes what its manager owned alone and no longer sends, and that it refuses empty maps.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from connect_autoscaler.api.names import FIELD_MANAGER
from connect_autoscaler.core.act import _removals
from connect_autoscaler.core.model import Action

Json = dict[str, Any]
Leaf = tuple[str, ...]

_ATOMIC_MAP: Leaf = ("spec", "template", "metadata", "labels")
_IDENTITY = {"apiVersion", "kind"}
_UNTRACKED = {"name", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}


def leaves(document: Mapping[str, Any], at: Leaf = ()) -> Iterator[Leaf]:
    """Yield the path of each thing that has one owner: scalars, atomic lists and maps, members of sets."""
    for key, value in document.items():
        path = (*at, key)
        if (not at and key in _IDENTITY) or (at == ("metadata",) and key in _UNTRACKED):
            continue
        if path == ("metadata", "finalizers"):
            yield from ((*path, member) for member in value)
        elif isinstance(value, Mapping) and path != _ATOMIC_MAP:
            yield from leaves(value, path)
        else:
            yield path


def managed_by(manager: str, document: Mapping[str, Any], time: str, operation: str = "Update") -> Json:
    """Return the entry of managedFields of a manager that wrote these fields (None is a removal)."""
    fields: Json = {}
    for path in leaves(document):
        if _get(document, path) is not None:
            node = fields
            for depth, part in enumerate(path):
                member = path[:depth] == ("metadata", "finalizers")
                node = node.setdefault(f"v:{json.dumps(part)}" if member else f"f:{part}", {})
    return {"manager": manager, "operation": operation, "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields}


def applied(live: Mapping[str, Any], action: Action, time: str = "2026-03-02T12:00:01Z") -> Json:
    """Return the NodePool after an Apply.

    Raises:
        AssertionError: If the API server would refuse it.
    """
    assert list(_empty_maps(action.body)) == []
    result = copy.deepcopy(dict(live))
    if len(action.removals) < len(action.differences):
        _apply(result, action.body, time)
    for operation in _removals(action, result):
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        if operation["op"] == "test":
            assert operation["value"] == (_get(result, tuple(parents)) or {}).get(last), operation
            continue
        assert operation["op"] == "remove"
        assert last in (_get(result, tuple(parents)) or ()), f"{operation['path']} is gone: 422"
        del _get(result, tuple(parents))[last]
    if result["spec"] != live["spec"]:
        result["metadata"]["generation"] += 1
    return result


def _apply(result: Json, body: Mapping[str, Any], time: str) -> None:
    mine = set(leaves(body))
    entries = result["metadata"].get("managedFields", [])
    before = {path for entry in entries if entry["manager"] == FIELD_MANAGER for path in _owned(entry["fieldsV1"])}
    others = [entry for entry in entries if entry["manager"] != FIELD_MANAGER]
    theirs = {path for entry in others for path in _owned(entry["fieldsV1"])}
    for path in before - mine - theirs:
        _drop(result, path)
    for path in mine:
        if _get(result, path) != _get(body, path):
            for entry in others:
                _disown(entry["fieldsV1"], path)
            _put(result, path, copy.deepcopy(_get(body, path)))
    result["metadata"]["managedFields"] = [managed_by(FIELD_MANAGER, body, time, operation="Apply"), *others]


def _owned(fields: Mapping[str, Any], at: Leaf = ()) -> Iterator[Leaf]:
    for name, below in fields.items():
        path = (*at, json.loads(name[2:]) if name.startswith("v:") else name[2:])
        if below:
            yield from _owned(below, path)
        else:
            yield path


def _disown(fields: Json, path: Leaf) -> None:
    node = fields
    for part in path[:-1]:
        node = node.get(f"f:{part}", {})
    node.pop(f"f:{path[-1]}", None)
    node.pop(f"v:{json.dumps(path[-1])}", None)


def _get(document: Mapping[str, Any], path: Leaf) -> Any:
    node: Any = document
    for part in path:
        if isinstance(node, list):
            return part if part in node else None
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _put(document: Json, path: Leaf, value: Any) -> None:
    node: Any = document
    for part in path[:-1]:
        node = node.setdefault(part, [] if part == "finalizers" else {})
    if isinstance(node, list):
        node.append(value)
    else:
        node[path[-1]] = value


def _drop(document: Json, path: Leaf) -> None:
    parent = _get(document, path[:-1])
    if isinstance(parent, list) and path[-1] in parent:
        parent.remove(path[-1])
    elif isinstance(parent, dict):
        parent.pop(path[-1], None)
    if parent in ([], {}):
        _drop(document, path[:-1])


def _empty_maps(node: Any, at: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        if not node:
            yield at
        for key, value in node.items():
            yield from _empty_maps(value, f"{at}/{key}")
