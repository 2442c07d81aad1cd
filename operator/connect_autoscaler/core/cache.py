"""What the watches have shown, and what our own writes have given back since.

Kopf's indices are complete before any handler runs, and follow the watch from then on. A write's answer is newer than
the index until its event arrives; remembering it spares a pass that plans the same write twice. Resource versions
are compared as integers: Kubernetes guarantees their order since 1.35, and etcd has always given it.
"""

import itertools
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

_TRUSTED: Final = 30.0
"""Seconds after which the watch has certainly told what became of a write."""


EVERY: Final = ("all", "")
"""Key under which an index may hold all of its objects."""


class Versioned(Protocol):
    """Anything that was read from the API server."""

    @property
    def name(self) -> str:
        """Name of the object."""

    @property
    def version(self) -> int:
        """Its resourceVersion."""


V = TypeVar("V", bound=Versioned)
Key = tuple[str, str]
"""What is looked up, and its value: ``("name", "connect-server")``, ``("pool", "connect-server")``, ..."""
Index = Mapping[Key, Iterable[V]]


class Cache(Generic[V]):
    """One cluster-scoped kind: an index of Kopf's, and our own writes on top."""

    def __init__(self) -> None:
        self._index: Index[V] = {}
        self._written: Final[dict[str, tuple[V, float]]] = {}
        self._own: Final[dict[str, int]] = {}
        self._gone: Final[dict[str, int]] = {}
        """By name, the version up to which everything is gone, though the index may have it for ever."""

    def attach(self, index: Index[V]) -> None:
        """Use an index; Kopf makes a new one each time it starts."""
        self._index = index

    def get(self, name: str) -> V | None:
        """The newest known state; None: the object does not exist."""
        indexed = max(self._index.get(("name", name), ()), key=lambda o: o.version, default=None)
        if indexed is not None and indexed.version <= self._gone.get(name, -1):
            indexed = None
        if name not in self._written:
            return indexed
        written, until = self._written[name]
        if time.monotonic() > until or (indexed is not None and indexed.version >= written.version):
            del self._written[name]
            return indexed
        return written

    def by(self, *keys: Key) -> dict[str, V]:
        """The newest known states of everything indexed under any of the keys, by name."""
        found: dict[str, V] = {}
        for indexed in itertools.chain.from_iterable(self._index.get(key, ()) for key in keys):
            seen = indexed.name in self._written or indexed.name in self._gone
            newest = self.get(indexed.name) if seen else indexed
            known = found.get(indexed.name)
            if newest is not None and (known is None or known.version < newest.version):
                found[indexed.name] = newest
        return found

    def wrote(self, thing: V) -> None:
        """Remember what a write gave back."""
        self._written[thing.name] = thing, time.monotonic() + _TRUSTED
        self._own[thing.name] = thing.version

    def looked(self, name: str, thing: V | None) -> None:
        """Remember what a look has shown; None: it does not exist. The watch may never tell, or later."""
        known = self.get(name)
        if thing is None:
            self._written.pop(name, None)
            if known is not None:
                self._gone[name] = known.version
        elif known is None or known.version < thing.version:
            self._written[name] = thing, math.inf

    def arrived(self, thing: V) -> bool:
        """An event has come: forget the write that it has overtaken. Gives whether it is only that write's echo."""
        if thing.name in self._written and self._written[thing.name][0].version <= thing.version:
            del self._written[thing.name]
        return self._own.get(thing.name) == thing.version

    def deleted(self, thing: V) -> None:
        """Forget what a deletion has overtaken: a write, and a predecessor whose own deletion nobody has told of."""
        self.arrived(thing)
        self._own.pop(thing.name, None)
        if any(indexed.version < thing.version for indexed in self._index.get(("name", thing.name), ())):
            self._gone[thing.name] = thing.version


class Raw(dict[str, Any]):
    """A JSON object with the two facts that a cache needs."""

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return str(self["metadata"]["name"])

    @property
    def version(self) -> int:
        """``metadata.resourceVersion``."""
        return int(self["metadata"]["resourceVersion"])
