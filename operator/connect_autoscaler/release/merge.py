"""The merge of three documents: the release's values, the overlay last applied, and the overlay wanted.

What we added and nobody changed since is replaced or removed; everything else is the user's. With nothing wanted it is
the way back: what was there before the take-over returns. Maps are merged deeply, lists by key, the order is kept,
and no null is ever written that was not there. Pure, and idempotent.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from connect_autoscaler.api.pointers import parts, pointer
from connect_autoscaler.release.lists import LISTS, RENDERED, KeyedList, elements
from connect_autoscaler.release.overlay import SERVER_ANNOTATIONS, protects
from connect_autoscaler.release.values import Json, Path, drop, effective, get, has, put, same

Prior = Mapping[str, Mapping[str, Any]]
"""What the user has at each path of the overlay, by pointer, as of the last time that we wrote over it: ``had`` and
``value``, else ``depth``, how many of the maps above it are his, and ``null``, whether the next one was null."""


@dataclass(frozen=True, slots=True)
class Change:
    """One value that the merge alters, or would."""

    pointer: str
    expected: Any | None
    """What will be there; None: nothing."""
    actual: Any | None
    """What is in effect now; None: nothing."""
    by_default: bool = False
    """Whether the chart's default says the same already; worth writing down, not worth an upgrade."""


@dataclass(frozen=True)
class Merged:
    """What the merge came to."""

    values: Json = field(repr=False)
    changes: tuple[Change, ...]
    kept: tuple[Change, ...]
    """Values of the user that stay although the profile would have others."""
    refused: tuple[Change, ...]
    """Values of the user that make the overlay impossible."""
    malformed: tuple[str, ...]
    """Pointers of values that have the wrong form: a map or a list is needed there."""
    prior: Prior = field(repr=False)

    @property
    def needed(self) -> tuple[Change, ...]:
        """Changes that are worth an upgrade."""
        return tuple(change for change in self.changes if not change.by_default)


def merge(config: Json, defaults: Json, applied: Json, wanted: Json, prior: Prior) -> Merged:
    """Merge.

    Args:
        config: Values that the user supplied, ours of earlier times among them. Not changed.
        defaults: Values of the chart.
        applied: The overlay last applied; empty if none was.
        wanted: The overlay to apply; empty to take it back.
        prior: What earlier merges gave as `Merged.prior`.
    """
    return _Merge(config, defaults, applied, wanted, prior).result()


def differences(shown: Json, wanted: Json) -> tuple[Change, ...]:
    """What objects do not show of the values in effect, both in the form of an overlay."""
    found = merge(shown, {}, {}, wanted, {})
    wrong = (Change(each, get(wanted, parts(each)), get(shown, parts(each))) for each in found.malformed)
    return tuple(sorted((*found.changes, *found.refused, *found.kept, *wrong), key=lambda change: change.pointer))


class _Merge:
    def __init__(self, config: Json, defaults: Json, applied: Json, wanted: Json, prior: Prior) -> None:
        self._config, self._defaults = config, defaults
        self._effective = effective(defaults, config)
        self._was, self._want = dict(_leaves(applied)), dict(_leaves(wanted))
        self._prior = dict(prior)
        self._values = deepcopy(config)
        self._changes: list[Change] = []
        self._kept: list[Change] = []
        self._refused: list[Change] = []
        self._malformed: dict[str, None] = {}

    def result(self) -> Merged:
        for path in self._want:
            self._prior.setdefault(pointer(path), self._capture(path))
        for path in {**self._was, **self._want}:
            if wrong := self._misshapen(path):
                self._malformed[wrong] = None
            elif path in LISTS:
                self._list(path, LISTS[path])
            else:
                self._leaf(path)
            if path not in self._want:
                self._prior.pop(pointer(path), None)
        return Merged(
            self._values,
            tuple(self._changes),
            tuple(self._kept),
            tuple(self._refused),
            tuple(self._malformed),
            dict(sorted(self._prior.items())),
        )

    def _misshapen(self, path: Path) -> str | None:
        """The pointer above or at a path where something else stands than the path needs."""
        for depth in range(1, len(path)):
            if not isinstance(get(self._config, path[:depth]), Mapping | None):
                return pointer(path[:depth])
        value = get(self._config, path)
        wrong = (
            isinstance(value, Mapping) if path == RENDERED or path not in LISTS else not isinstance(value, list | None)
        )
        return pointer(path) if wrong else None

    def _capture(self, path: Path) -> Mapping[str, Any]:
        if has(self._config, path):
            return {"had": True, "value": deepcopy(get(self._config, path))}
        depth = next(n for n in range(len(path)) if not isinstance(get(self._config, path[: n + 1]), Mapping))
        for above in range(depth):  # maps that earlier merges made for a neighbour are no more the user's than that is
            within = pointer(path[: above + 1])
            for name, before in self._prior.items():
                if before.get("depth") == above and (name + "/").startswith(within + "/"):
                    return before
        return {"had": False, "depth": depth, "null": has(self._config, path[: depth + 1])}

    def _leaf(self, path: Path) -> None:
        have, was, want = get(self._values, path), self._was.get(path), self._want.get(path)
        before = self._prior.get(pointer(path), {})
        ours = path in self._was and same(have, was) and not (before.get("had") and same(have, before["value"]))
        change = Change(pointer(path), want, get(self._effective, path), same(get(self._effective, path), want))
        if want is None:
            if ours:
                self._changes.append(Change(pointer(path), before.get("value"), have))
                self._reset(path, before)
        elif same(have, want):
            return
        elif have is None or ours or path[:-1] == SERVER_ANNOTATIONS:
            if not ours:
                self._prior[pointer(path)] = self._capture(path)
            put(self._values, path, want)
            self._changes.append(change)
        else:
            self._refused.append(change)

    def _reset(self, path: Path, before: Mapping[str, Any]) -> None:
        """Make it what it was before, and let go of maps that we made and that are empty now."""
        if before.get("had"):
            put(self._values, path, deepcopy(before.get("value")))
            return
        drop(self._values, path)
        top = before.get("depth", 0) + 1
        for depth in range(len(path) - 1, top - 1, -1):
            if get(self._values, path[:depth]) != {}:
                return
            drop(self._values, path[:depth])
        if before.get("null"):
            put(self._values, path[:top], None)

    def _list(self, path: Path, kind: KeyedList) -> None:
        nulled = self._prior.get(pointer(path), {}).get("null")  # a null further up removes the chart's list
        default = [] if nulled else elements(get(self._defaults, path))
        items = elements(get(self._values, path)) if has(self._values, path) else deepcopy(default)
        was, want = elements(self._was.get(path)), elements(self._want.get(path))
        before = self._prior[pointer(path)] = self._theirs(path, kind, items, was, default)
        theirs = elements(before.get("value")) if before.get("had") else default
        ours = [item for item in was if not any(same(item, each) for each in theirs)]
        made, given_back = _without(kind, items, [item for item in ours if not _find(kind, want, item)], theirs)
        self._changes += [Change(pointer(path) + kind.name(item), user, item) for item, user in given_back]
        made = self._with(path, kind, made, want, ours)
        if made == items:
            return
        old = before.get("value")
        if not want and same(made, elements(old)) and before.get("had"):
            put(self._values, path, deepcopy(old))
        elif not before.get("had") and same(made, default):
            self._reset(path, before)
        else:
            put(self._values, path, made)

    def _theirs(
        self, path: Path, kind: KeyedList, items: list[Any], was: list[Any], default: list[Any]
    ) -> Mapping[str, Any]:
        """What the list is without us: as remembered, unless the user changed his part of it since."""
        before = self._prior.get(pointer(path), {})
        if not has(self._config, path):
            return self._capture(path)
        theirs = elements(before.get("value")) if before.get("had") else default
        now, _ = _without(kind, items, was, theirs)
        return before if same(now, theirs) else {"had": True, "value": deepcopy(now)}

    def _with(self, path: Path, kind: KeyedList, items: list[Any], want: list[Any], ours: list[Any]) -> list[Any]:
        """Add what is wanted and not served yet."""
        made = list(items)
        for item in want:
            if any(kind.serves(each, item) for each in made):
                continue
            earlier = _find(kind, ours, item)
            alike = [i for i, each in enumerate(made) if kind.key(each) == kind.key(item)]
            # Of several with one key ours of earlier is the one to replace.
            at = next((i for i in alike if earlier is not None and same(made[i], earlier)), next(iter(alike), None))
            change = Change(pointer(path) + kind.name(item), item, None if at is None else made[at])
            if at is None:
                made.append(deepcopy(item))
                self._changes.append(change)
            elif (earlier is not None and same(made[at], earlier)) or self._unusable(path, made[at]):
                made[at] = deepcopy(item)
                self._changes.append(change)
            else:
                self._kept.append(change)
        return made

    @staticmethod
    def _unusable(path: Path, item: Any) -> bool:
        """Whether a user's element protects nothing, so that ours takes its place."""
        return path == RENDERED and not protects(str(item).partition("=")[2])


def _without(
    kind: KeyedList, items: list[Any], ours: list[Any], theirs: list[Any]
) -> tuple[list[Any], list[tuple[Any, Any | None]]]:
    """Take out what we added, and put back what it had replaced: the list then, and each of ours with the user's."""
    made, found = list(items), []
    for item in ours:
        at = next((i for i, each in enumerate(made) if kind.key(each) == kind.key(item) and same(each, item)), None)
        user = _find(kind, theirs, item)
        if at is None or any(same(each, item) for each in theirs):
            continue
        found.append((made[at], user))
        there = user is None or any(same(each, user) for each in (*made[:at], *made[at + 1 :]))
        made[at : at + 1] = [] if there else [deepcopy(user)]
    return made, found


def _find(kind: KeyedList, items: list[Any], wanted: Any) -> Any | None:
    return next((item for item in items if kind.key(item) == kind.key(wanted)), None)


def _leaves(document: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, value in document.items():
        below = (*path, key)
        if isinstance(value, Mapping) and below not in LISTS:
            yield from _leaves(value, below)
        else:
            yield below, value
