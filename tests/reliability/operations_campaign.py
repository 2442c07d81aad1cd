"""Carries out the operations, or a part of them: `python -m reliability.operations_campaign --help`.

Chains run several at a time beside one operator and one API server; with `--karpenter` beside a real Karpenter, too.
A campaign that is interrupted goes on where it was when it is started again.
"""

import argparse
import asyncio
import contextlib
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from harness import NODE_CLASS, LocalOperator, Workspace, install
from integration.obstacles import allow_deletion
from reliability import operations_figures as figures
from reliability.haste import in_haste
from reliability.operations import NODE_CLASSES, deck
from reliability.operations_chain import Chain, Judged
from reliability.results import commit
from reliability.world import world
from sandbox import Cluster, cluster

DEFAULT: Final = figures.DIRECTORY / "operations.jsonl"
SEED: Final = 20260301
LENGTH: Final = 14
"""Operations of a chain."""
ROUNDS: Final = 2
"""How often every operation is tried, each time after others."""
_REAL: Final = 6
"""Chains beside a real Karpenter."""


def chains() -> int:
    """Return how many chains there are."""
    return -(-len(deck(ROUNDS, SEED)) // LENGTH)


async def carry_out(running: Cluster, numbers: Sequence[int], at_once: int) -> AsyncIterator[Judged]:
    """Carry out chains, and yield each as it ends; the operator of the cluster is the caller's."""
    dealt, left = deck(ROUNDS, SEED), deque(numbers)
    ended: asyncio.Queue[Judged] = asyncio.Queue()

    async def work() -> None:
        while left:
            number = left.popleft()
            await ended.put(await Chain(running, number, dealt[number * LENGTH : (number + 1) * LENGTH]).run())

    working = [asyncio.create_task(work()) for _ in range(at_once)]
    try:
        for _ in numbers:
            yield await ended.get()
    finally:
        for task in working:
            task.cancel()


@contextlib.asynccontextmanager
async def beside_karpenter() -> AsyncIterator[Cluster]:
    """Have a whole cluster with a real Karpenter, and operators of this process in haste."""
    async with cluster() as running, Workspace(running) as workspace:
        install(running)
        await allow_deletion(workspace)
        with in_haste():
            yield running


@contextlib.asynccontextmanager
async def alone() -> AsyncIterator[Cluster]:
    """Have an API server alone, and operators of this process in haste."""
    async with world() as it:
        yield it.cluster


@contextlib.asynccontextmanager
async def operated(running: Cluster) -> AsyncIterator[LocalOperator]:
    """Have an operator on a cluster, and the NodeClasses that operations name."""
    async with LocalOperator(running) as operator:
        for name in NODE_CLASSES:
            reference = {"apiVersion": f"{NODE_CLASS['group']}/v1alpha1", "kind": NODE_CLASS["kind"]}
            running.apply({**reference, "metadata": {"name": name}})
        yield operator


async def campaign(options: argparse.Namespace) -> bool:
    """Carry out what the options ask for; tell whether nothing was violated."""
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(logging.NullHandler())
    part, parts = map(int, options.shard.split("/"))
    prefix = "with Karpenter, " if options.karpenter else ""
    done = {each["name"] for each in figures.read(options.results) if each["verdict"] == "survived"}
    numbers = [n for n in range(_REAL if options.karpenter else chains()) if n % parts == part - 1]
    if not options.again:
        numbers = [n for n in numbers if f"{prefix}chain {n}" not in done]
    good = True
    async with (beside_karpenter if options.karpenter else alone)() as running, operated(running) as operator:
        async for judged in carry_out(running, numbers, options.at_once):
            judged.name = prefix + judged.name
            figures.append(options.results, line(judged))
            good = good and not judged.violations
            print(
                f"{judged.name}: {judged.accepted} + {judged.refused} + {judged.rolled_back}, {judged.seconds} s",
                flush=True,
            )
            for text in judged.violations:
                print(f"    {text}", flush=True)
        errors = [each for each in operator.log().splitlines() if each.startswith(("ERROR", "Traceback"))]
    for each in errors[:20]:
        print(f"    the operator's log: {each[:500]}", flush=True)
    return good and not errors


def line(judged: Judged) -> dict[str, Any]:
    """Return the line of a chain."""
    verdict = "failed" if judged.violations else "survived"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"kind": "operations", **asdict(judged), "verdict": verdict, "commit": commit(), "time": now}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if something is violated, else 0."""
    parser = argparse.ArgumentParser(prog="python -m reliability.operations_campaign", description=__doc__)
    parser.add_argument("--shard", default="1/1", help="which part of how many, such as 2/4")
    parser.add_argument("--karpenter", action="store_true", help=f"the first {_REAL} chains beside a real Karpenter")
    parser.add_argument("--at-once", type=int, default=6, help="how many chains run at a time (%(default)s)")
    parser.add_argument("--again", action="store_true", help="also what was carried out before")
    parser.add_argument("--results", type=Path, default=DEFAULT, help="file to add results to (%(default)s)")
    options = parser.parse_args(arguments)
    good = True
    with contextlib.suppress(KeyboardInterrupt):
        good = asyncio.run(campaign(options))
    figures.write()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
