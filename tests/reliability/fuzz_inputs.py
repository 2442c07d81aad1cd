"""Documents by chance, always the same for the same seed: good ones to begin with, and a few things done to them."""

import base64
import gzip
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

Json = dict[str, Any]
Place = tuple[Any, Any]
"""A container, and the key or the index in it."""

JUNK: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1.5, 2**63, 10**30, float("inf"), "", " ", "a", "null", "Never", "0s", "-1h", "10%"),
    *("\x00", "é" * 40, "٣", "9" * 400, "\ud800", "${HOME}", "{{ .Values }}", "2026-01-01", "0001-01-01T00:00:00Z"),
    *([], {}, [[]], [None], {"": None}, ["a", 1], {"a": {"b": []}}),
)
_GUARANTEED: Final = frozenset({"labels", "annotations", "finalizers", "ownerReferences"})
_DEEP: Final = 3000
_LARGE: Final = 200_000
_MANY: Final = 2000
_CHANGES: Final = (1, 1, 1, 2, 2, 3, 5)


def rng(seed: int, target: str, number: int) -> random.Random:
    """Return the generator of one input."""
    return random.Random(f"{seed}/{target}/{number}")  # noqa: S311 - it is to be the same every time


def spoiled(document: Any, by: random.Random, keep: Callable[[Any, Any], bool] = lambda _node, _key: False) -> Any:
    """Return a copy of a document after a few changes.

    Args:
        document: JSON.
        by: Where chance comes from.
        keep: Tells of a container and a key in it that they are to stay.
    """
    result = _copied(document)
    for _ in range(by.choice(_CHANGES)):
        places = [place for place in _places(result) if not keep(*place)]
        if not places:
            break
        node, key = by.choice(places)
        if key in _GUARANTEED and "uid" in node:
            del node[key]
        else:
            _spoil(node, key, by)
    return result


def respelled(document: Any, by: random.Random, keep: Callable[[Any, Any], bool]) -> Any:
    """Return a copy after a few changes that leave every type as it is, as a schema would make sure."""
    result = _copied(document)
    for _ in range(by.choice(_CHANGES)):
        node, key = by.choice([place for place in _places(result) if not keep(*place)])
        alike = [each for each in JUNK if type(each) is type(node[key])]
        if isinstance(node, list) or key in _GUARANTEED or by.random() < 0.4:
            del node[key]
        elif isinstance(node[key], str | bool | int):
            node[key] = by.choice(alike)
        elif isinstance(node[key], list):
            node[key] = _copied(node[key]) * by.choice((0, 2, 50))
    return result


def _copied(document: Any) -> Any:
    """Return a copy of JSON, also of what is too deep for `copy.deepcopy`."""
    return json.loads(json.dumps(document))


def _places(node: Any) -> Iterator[Place]:
    """Yield all places that a writer decides on; the API server itself sees to the metadata of an object."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, below in items:
        if key == "metadata" and isinstance(below, dict) and "uid" in below:
            yield from (
                (below, name) for name in ("labels", "annotations", "finalizers", "ownerReferences") if name in below
            )
            continue
        yield node, key
        if isinstance(below, dict | list):
            yield from _places(below)


def _spoil(node: Any, key: Any, by: random.Random) -> None:
    chance = by.random()
    if chance < 0.45:
        node[key] = _copied(by.choice(JUNK))
    elif chance < 0.65:
        del node[key]
    elif chance < 0.75 and isinstance(node, dict):
        node[by.choice(("", "extra", "a/b", "x" * 300, "kind"))] = node.pop(key)
    elif chance < 0.85:
        node[key] = [_copied(node[key])] * by.choice((1, 2, 50))
    elif chance < 0.90:
        node[key] = {"value": node[key]}
    elif chance < 0.95 and isinstance(node[key], str):
        node[key] = _other_text(node[key], by)
    elif chance < 0.97:
        node[key] = "x" * by.choice((300, _LARGE))
    elif chance < 0.98:
        node[key] = _nested(by)
    elif chance < 0.99:
        node[key] = [{"name": str(n), "key": n} for n in range(_MANY)]
    else:
        node[key] = {f"key-{n}": n for n in range(_MANY)}


def _other_text(text: str, by: random.Random) -> str:
    at = by.randrange(len(text) + 1)
    return by.choice(
        (text[:at], text[at:], text[:at] + by.choice(("\x00", "é", "\n", "=", "%", "9")) + text[at:], text * 3)
    )


def _nested(by: random.Random, depth: int = 400) -> Any:
    """Return something that is as deep as what is read from a stream without limits never is, but JSON may be."""
    node: Any = "end"
    for _ in range(depth):
        node = [node] if by.random() < 0.5 else {"a": node}
    return node


def packed(document: Any, by: random.Random) -> str:
    """Return the data of a release Secret: as Helm writes it, or damaged on one of the ways there."""
    text = json.dumps(document).encode()
    chance = by.random()
    if chance < 0.02:
        text = b"[" * _DEEP * 50
    elif chance < 0.04:
        text = b'{"a":' * _DEEP + b"1" + b"}" * _DEEP
    elif chance < 0.07:
        text = by.randbytes(by.choice((0, 1, 100)))
    elif chance < 0.10:
        text = text[: by.randrange(len(text))]
    raw = gzip.compress(text, 1) if by.random() < 0.9 else text
    if chance > 0.995:
        raw = bomb()
    elif chance > 0.96:
        raw = raw[: by.randrange(len(raw) + 1)]
    elif chance > 0.92:
        at = by.randrange(len(raw) or 1)
        raw = raw[:at] + by.randbytes(4) + raw[at + 4 :]
    elif chance > 0.90:
        raw = raw + raw
    inner = base64.b64encode(raw)
    if 0.86 < chance < 0.90:
        inner = inner[: by.randrange(len(inner) + 1)] + by.choice((b"", b"!", b"=", b"\xff"))
    outer = base64.b64encode(inner).decode()
    return outer[:-1] if 0.85 < chance < 0.86 else outer


_BOMB: list[bytes] = []


def bomb() -> bytes:
    """Return what fits into a Secret and unpacks to a gigabyte."""
    if not _BOMB:
        block = gzip.compress(b" " * (1 << 24), 9)
        _BOMB.append(block * 40)  # gzip reads members that follow each other as one
    return _BOMB[0]
