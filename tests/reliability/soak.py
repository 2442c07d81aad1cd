"""An hour in some minutes: thousands of bends and heals, and what they leave behind in the operator's process.

    python -m reliability.soak --minutes 8

bends a NodePool whenever the last bend is healed, which is thousands of times; now and then it deletes the NodePool,
ends watches and has their history forgotten. What the process holds is sampled, and lines are fitted to the samples of
the second half. It writes the table in docs/reliability.md, and exits with 1 if something grows.
"""

import argparse
import asyncio
import contextlib
import gc
import itertools
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from connect_autoscaler.core import fights
from harness import NODE_POOLS
from reliability.life import Life, life
from reliability.operations_figures import DIRECTORY, PAGE, append
from reliability.results import commit
from reliability.rules import Fault, Rule
from reliability.world import World, world
from sandbox import eventually

_LAST: Final = 100
"""Requests and log lines that the test itself keeps."""
_PAGE: Final = 4096
_STEADY: Final = 0.5
"""Part of the rounds after which caches and pools of memory are filled."""
_DELETIONS: Final = 10
"""Every so often a round deletes the NodePool instead of bending it."""
_ENDS: Final = 50
"""Every so often watches end before a round."""
_PATIENCE: Final = 60.0
_BEGIN, _END = "<!-- soak -->", "<!-- /soak -->"

LIMITS: Final = {"objects": 0.5, "tasks": 0.002, "connections": 0.002, "descriptors": 0.002, "bytes": 2048.0}
"""What a round may leave behind, by the slope of a fitted line.

A thing that every round leaves behind is 1; a whole NodePool is some hundred objects, and 10 KiB. Memory is told less
exactly: the allocator takes a MiB at a time, and one such step is some 900 bytes a round in eight minutes.
"""
_NOISE: Final = {"objects": 500, "tasks": 4, "connections": 4, "descriptors": 4, "bytes": 2 << 20}
"""By how much samples differ without any growth: requests, and pages, that are in use just then."""


@dataclass(frozen=True)
class Footprint:
    """What the process holds, the test's own part included.

    Attributes:
        rounds: How many were healed before.
        objects: Tracked by the garbage collector.
        tasks: Of asyncio, not done.
        connections: Open sockets.
        descriptors: Open files and connections.
        bytes: Resident memory.
    """

    rounds: int
    objects: int
    tasks: int
    connections: int
    descriptors: int
    bytes: int

    @classmethod
    def now(cls, rounds: int) -> "Footprint":
        """Measure this process."""
        gc.collect()
        everything = gc.get_objects()
        tasks = sum(isinstance(each, asyncio.Task) and not each.done() for each in everything)
        links = list(_links())
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sockets = sum(link.startswith("socket:") for link in links)
        return cls(rounds, len(everything), tasks, sockets, len(links), pages * _PAGE)


def _links() -> Iterator[str]:
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            yield str(each.readlink())


async def bend_and_heal(it: Life, more: Callable[[], bool], sample: Callable[[int], bool]) -> list[Footprint]:
    """Bend a field again and again, each time when the last bend is healed; measure now and then.

    Args:
        it: What is bent.
        more: Whether to go on.
        sample: Whether to measure before a round.
    """
    found: list[Footprint] = []
    rounds = itertools.count(1)
    while more():
        number = next(rounds)
        if sample(number - 1):
            found.append(Footprint.now(number - 1))
        if number % _ENDS == _DELETIONS // 2:  # a deletion that is never told is found by the next full check only
            it.rules.set(Rule("watch nodepools", Fault.GONE), Rule("watch connectautoscalingprofiles", Fault.ENDED))
        if number % _DELETIONS == 0:
            await _delete(it)
        else:
            it.bend(50 + number % 40)
        await eventually(it.straight, timeout=_PATIENCE, interval=0.002)
    found.append(Footprint.now(next(rounds) - 1))
    return found


async def _delete(it: Life) -> None:
    """Delete the NodePool, and wait until there is another one."""
    name = it.stage.profile.content
    before = it.stage.api.get(NODE_POOLS, name)["metadata"]["uid"]
    it.stage.api.delete(NODE_POOLS, name)

    def back() -> bool:
        found = it.stage.api.find(NODE_POOLS, name)
        return found is not None and found["metadata"]["uid"] != before

    await eventually(back, timeout=_PATIENCE, interval=0.002)


def steady(found: Sequence[Footprint]) -> list[Footprint]:
    """Return the samples from which growth is judged."""
    return [each for each in found if each.rounds >= found[-1].rounds * _STEADY]


def growth(found: Sequence[Footprint]) -> dict[str, float]:
    """Return what a round leaves behind, once it has worked for a while: the slopes of fitted lines."""
    samples = steady(found)
    rounds = [each.rounds for each in samples]
    return {
        name: round(statistics.linear_regression(rounds, [getattr(each, name) for each in samples]).slope, 4)
        for name in LIMITS
    }


def grown(found: Sequence[Footprint], *, tolerance: float = 1.0) -> dict[str, float]:
    """Return what grows: by more than a round may leave behind, and by more than samples differ by chance.

    Args:
        found: What was measured.
        tolerance: How many times as much as in `LIMITS` a round may leave behind, after few rounds.
    """
    samples, slopes = steady(found), growth(found)
    rounds = samples[-1].rounds - samples[0].rounds
    return {
        name: slope
        for name, slope in slopes.items()
        if slope > LIMITS[name] * tolerance and slope * rounds > _NOISE[name]
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


async def soak(it: World, more: Callable[[], bool], sample: Callable[[int], bool]) -> tuple[list[Footprint], int]:
    """Bend and heal as `bend_and_heal` does; give what was measured, and how many heals the status counts."""
    async with life(it, last=_LAST) as one:
        with _no_fights():
            found = await bend_and_heal(one, more, sample)
        return found, int(one.stage.profile.status["heals"]["total"])


async def rounds_of(it: World, rounds: int, samples: int) -> list[Footprint]:
    """Bend and heal so many times, with so many measurements."""
    left = iter(range(rounds))
    found, _ = await soak(it, lambda: next(left, None) is not None, lambda done: done % max(rounds // samples, 1) == 0)
    return found


async def minutes_of(it: World, minutes: float, samples: int) -> dict[str, Any]:
    """Bend and heal for so long; return all that is to be said of it."""
    began = time.monotonic()
    due = (began + minutes * 60 * part / samples for part in itertools.count())
    following = [next(due)]

    def sample(_: int) -> bool:
        if time.monotonic() < following[0]:
            return False
        following[0] = next(due)
        return True

    found, heals = await soak(it, lambda: time.monotonic() - began < minutes * 60, sample)
    return {
        "name": "soak",
        "commit": commit(),
        "seconds": round(time.monotonic() - began),
        "heals": heals,
        "growth": growth(found),
        "grown": grown(found),
        "samples": [asdict(each) for each in found],
    }


def rows(line: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    samples = [Footprint(**each) for each in line["samples"]]
    first, last = steady(samples)[0], samples[-1]
    texts = {
        "objects": "objects",
        "tasks": "tasks of asyncio",
        "connections": "connections",
        "descriptors": "open files and connections",
        "bytes": "resident memory, KiB",
    }
    lines = [
        "| | at the start | in the middle | at the end | a round leaves behind | bound |",
        "|---|---|---|---|---|---|",
    ]
    for name, text in texts.items():
        unit = 1024 if name == "bytes" else 1
        cells = [getattr(each, name) // unit for each in (samples[0], first, last)]
        slope, limit = line["growth"][name], LIMITS[name]
        told = (f"{slope:.0f} bytes", f"{limit:.0f} bytes") if unit > 1 else (f"{slope:.4f}", f"{limit:g}")
        lines.append(f"| {' | '.join(map(str, (text, *cells, *told)))} |")
    said = f"{last.rounds} rounds and {line['heals']} heals in {line['seconds']} s. Commit: {line['commit']}."
    return [*lines, "", said]


def write(line: dict[str, Any]) -> None:
    """Put the table into the page, in the place of the one before."""
    block = "\n".join((_BEGIN, *rows(line), _END))
    PAGE.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _: block, PAGE.read_text(), flags=re.DOTALL))


async def _main(minutes: float, samples: int) -> bool:
    async with world() as it:
        line = await minutes_of(it, minutes, samples)
    append(DIRECTORY / "soak.jsonl", line)
    write(line)
    print("\n".join(rows(line)))
    return not line["grown"]


def main() -> int:
    """Return 1 if something grows."""
    parser = argparse.ArgumentParser(prog="python -m reliability.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="how long it bends (default: 8)")
    parser.add_argument("--samples", type=int, default=24, help="how often it measures (default: 24)")
    chosen = parser.parse_args()
    return 0 if asyncio.run(_main(chosen.minutes, chosen.samples)) else 1


if __name__ == "__main__":
    sys.exit(main())
