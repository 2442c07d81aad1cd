"""Digests: of any JSON document, and of what a NodePool is to be brought to."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

_PREFIX: Final = "sha256:"
_HALF: Final = 16


def digest(document: Any) -> str:
    """Name a JSON document by its content; equal documents have equal digests."""
    return _PREFIX + _hash(document)


def joined(digests: Iterable[str]) -> str:
    """Name several documents at once, in a way that tells each of them."""
    return _PREFIX + "".join(each.removeprefix(_PREFIX) for each in digests)


def parts_of(name: str) -> frozenset[str]:
    """The digests that were joined; a name that is none has itself as its only part."""
    hashes = name.removeprefix(_PREFIX)
    if not name.startswith(_PREFIX) or not hashes or len(hashes) % _HALF:
        return frozenset({name})
    return frozenset(hashes[at : at + _HALF] for at in range(0, len(hashes), _HALF))


def pool_digest(wanted: Mapping[str, Any]) -> str:
    """Name what a rendered NodePool asks for, in two halves: the template, whose roll-out may wait, comes second."""
    rest = {key: value for key, value in wanted["spec"].items() if key != "template"}
    return _PREFIX + _hash([rest, wanted["metadata"].get("finalizers", [])]) + _hash(wanted["spec"]["template"])


def template_half(pool: str) -> str:
    """The second half of a pool's digest."""
    return pool[-_HALF:]


def but_template(new: str, old: str | None) -> str:
    """The digest of a pool whose template stayed as it was; zeros if it never was ours."""
    return new.removesuffix(template_half(new)) + (template_half(old) if old else "0" * _HALF)


def _hash(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_HALF]
