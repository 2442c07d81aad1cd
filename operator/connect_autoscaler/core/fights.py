"""Memory of corrections: who is fighting us, and how far to slow down.

More than five corrections of one path within a minute are a fight. From then on the path is corrected once a minute:
never stopping, never storming. A target as a whole is bounded too, so that an opponent who bends another field each
time gains nothing. (Config Sync's fight detector is the model: an error at five updates a minute.)
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from connect_autoscaler.core.model import Fight

WINDOW: Final = timedelta(minutes=1)
MAX_PER_PATH: Final = 5
MAX_PER_TARGET: Final = 30
WHOLE: Final = ""
"""Pointer that stands for a target as a whole."""
_UNKNOWN: Final = "unknown"


@dataclass(slots=True)
class _Corrections:
    """What happened to one path lately."""

    times: deque[datetime] = field(default_factory=lambda: deque(maxlen=MAX_PER_TARGET + 1))
    manager: str = _UNKNOWN
    fighting: bool = False

    def add(self, manager: str, now: datetime, limit: int) -> None:
        self.times.append(now)
        if manager != _UNKNOWN:
            self.manager = manager
        self.fighting = self.fighting or sum(now - time < WINDOW for time in self.times) > limit


class Fights:
    """Corrections of the last minutes, by target and path."""

    def __init__(self) -> None:
        self._paths: dict[tuple[str, str], _Corrections] = {}

    def record(self, target: str, pointers: Mapping[str, str], now: datetime) -> None:
        """Remember one write that corrected fields of a target.

        Args:
            target: Kind and name.
            pointers: Manager that had changed the field, by JSON pointer; ``unknown`` if nobody can tell.
            now: Time of the correction.
        """
        known = next((manager for manager in pointers.values() if manager != _UNKNOWN), _UNKNOWN)
        for pointer, manager in {**pointers, WHOLE: known}.items():
            limit = MAX_PER_TARGET if pointer == WHOLE else MAX_PER_PATH
            self._paths.setdefault((target, pointer), _Corrections()).add(manager, now, limit)

    def active(self, now: datetime) -> tuple[Fight, ...]:
        """Fights that go on: over two minutes without another correction, the opponent has stopped."""
        self._paths = {key: path for key, path in self._paths.items() if now - path.times[-1] <= 2 * WINDOW}
        return tuple(
            Fight(target, pointer, path.manager, until if (until := path.times[-1] + WINDOW) > now else None)
            for (target, pointer), path in sorted(self._paths.items(), key=lambda item: item[0])
            if path.fighting
        )

    def reset(self) -> None:
        """Forget everything: a new generation or a reconcile request starts afresh."""
        self._paths.clear()
