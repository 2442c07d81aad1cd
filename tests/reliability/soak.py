"""An hour in some minutes: thousands of bends and heals, and what they leave behind in the operator's process.

`python -m reliability.soak` prints what it measured, and exits with 1 if something grows.
"""

import argparse
import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from connect_autoscaler.core import fights
from reliability.life import Life, life
from reliability.world import World, world
from sandbox import eventually

_LAST: Final = 100
"""Requests and log lines that the test itself keeps."""
_PAGE: Final = 4096
_STEADY: Final = 0.4
"""Part of the cycles after which caches and pools of memory are filled."""


@dataclass(frozen=True)
class Footprint:
    """What the process holds.

    Attributes:
        objects: Tracked by the garbage collector.
        descriptors: Open files and connections.
        pages: Resident memory, in pages.
        cycles: How many bends were healed before.
    """

    objects: int
    descriptors: int
    pages: int
    cycles: int

    @classmethod
    def now(cls, cycles: int) -> "Footprint":
        """Measure this process."""
        gc.collect()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(len(gc.get_objects()), descriptors, pages, cycles)


async def bend_and_heal(it: Life, cycles: int, samples: int) -> list[Footprint]:
    """Bend a field so many times, each time when the last bend is healed; measure now and then."""
    found: list[Footprint] = []
    for cycle in range(cycles):
        if cycle % max(cycles // samples, 1) == 0:
            found.append(Footprint.now(cycle))
        it.bend(50 + cycle % 50)
        await eventually(it.straight, timeout=60, interval=0.002)
    found.append(Footprint.now(cycles))
    return found


def growth(found: list[Footprint]) -> dict[str, float]:
    """Return what a cycle leaves behind, once it has worked for a while: objects, descriptors, bytes."""
    steady = [each for each in found if each.cycles >= found[-1].cycles * _STEADY]
    first, last = steady[0], steady[-1]
    cycles = last.cycles - first.cycles
    return {
        "objects": (last.objects - first.objects) / cycles,
        "descriptors": (last.descriptors - first.descriptors) / cycles,
        "bytes": (last.pages - first.pages) * _PAGE / cycles,
    }


@contextlib.contextmanager
def _no_fights() -> Iterator[None]:
    """Bend as often as a year would, in some minutes: that is no fight."""
    before = fights.WINDOW
    fights.WINDOW = timedelta()  # type: ignore[misc] # for this process, while the context lasts
    try:
        yield
    finally:
        fights.WINDOW = before  # type: ignore[misc]


async def soak(it: World, cycles: int, samples: int = 10) -> tuple[list[Footprint], dict[str, float]]:
    """Bend and heal; give what was measured, and what a cycle leaves behind."""
    async with life(it, last=_LAST) as one:
        with _no_fights():
            found = await bend_and_heal(one, cycles, samples)
        return found, growth(found)


LIMITS: Final = {"objects": 1.0, "descriptors": 0.02, "bytes": 1024.0}
"""What a cycle may leave behind: less than one object that it made."""


async def _main(cycles: int) -> bool:
    async with world() as it:
        began = time.monotonic()
        found, grown = await soak(it, cycles)
        for each in found:
            print(each)
        print(f"{cycles} cycles in {time.monotonic() - began:.0f} s; each leaves behind {grown}")
        return all(grown[name] <= limit for name, limit in LIMITS.items())


def main() -> int:
    """Return 1 if something grows."""
    parser = argparse.ArgumentParser(prog="python -m reliability.soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=5000)
    return 0 if asyncio.run(_main(parser.parse_args().cycles)) else 1


if __name__ == "__main__":
    sys.exit(main())
