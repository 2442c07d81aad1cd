"""Carries out all plans, or a part of them: `python -m reliability.campaign --help`.

Plans run several at a time against one API server, each operator behind a proxy that shows it nothing but its own
plan's objects. A campaign that is interrupted goes on where it was when it is started again.
"""

import argparse
import asyncio
import contextlib
import gc
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from reliability import results, table
from reliability.invariants import violations
from reliability.plans import Plan, plans, sample
from reliability.results import Result
from reliability.seen import Seen
from reliability.trial import Trial
from reliability.workloads import WORKLOADS
from reliability.world import World, world

AT_ONCE: Final = 6


async def undisturbed(it: World, names: Sequence[str] = tuple(WORKLOADS)) -> dict[str, Seen]:
    """Carry out workloads without faults: what they ask for, and how they end.

    Raises:
        AssertionError: If one of them does what must never happen even so.
    """
    runs = await asyncio.gather(*(Trial(it, WORKLOADS[name]).run() for name in names))
    for name, seen in zip(names, runs, strict=True):
        wrong = violations(seen, seen)
        assert not wrong, f"{name} without faults: {wrong}"
    return dict(zip(names, runs, strict=True))


async def carry_out(it: World, plan: Plan, without: Mapping[str, Seen], commit: str) -> Result:
    """Carry out one plan, twice if its fault met nothing the first time."""
    for last in (False, True):
        trial = Trial(it, WORKLOADS[plan.workload], plan.rules(), process=plan.process)
        try:
            seen = await trial.run(without[plan.workload].picture)
        except Exception as error:  # noqa: BLE001 - one plan that cannot be carried out must not end the campaign
            return Result(plan.key, plan.workload, plan.kind, "broken", commit, [f"{type(error).__name__}: {error}"])
        result = Result.of(plan, seen, without[plan.workload], commit)
        if result.verdict != "missed" or last:
            break
    return result


async def carry_out_all(
    it: World,
    chosen: Sequence[Plan],
    without: Mapping[str, Seen],
    ended: Callable[[Result], None],
    *,
    commit: str = "",
    at_once: int = AT_ONCE,
) -> None:
    """Carry out plans, several at a time.

    Args:
        it: Where.
        chosen: Which.
        without: Their workloads without faults.
        ended: Told of each result.
        commit: Of the product.
        at_once: How many at a time.
    """
    left = deque(chosen)
    gc.freeze()  # each operator that ends has its garbage collected: what is here by now is none

    async def work() -> None:
        while left:
            ended(await carry_out(it, left.popleft(), without, commit))

    await asyncio.gather(*(work() for _ in range(at_once)))


async def campaign(options: argparse.Namespace) -> bool:
    """Carry out what the options ask for; tell whether nothing has failed."""
    part, parts = map(int, options.shard.split("/"))
    done = results.read(options.results)
    counts: Counter[str] = Counter()
    commit, began = results.commit(), time.monotonic()
    async with world() as it:
        without = await undisturbed(it, options.workload or tuple(WORKLOADS))
        every = plans(without)
        chosen = sample(every, options.sample or len(every))
        chosen = [plan for plan in chosen if plan.number % parts == part - 1 and options.only in plan.key]
        if not options.again:
            chosen = [p for p in chosen if p.key not in done or done[p.key].verdict in {"failed", "broken"}]
        print(f"{len(every)} plans; {len(chosen)} to be carried out now", flush=True)

        def ended(result: Result) -> None:
            results.append(options.results, result)
            counts[result.verdict] += 1
            _tell(result, counts, len(chosen), time.monotonic() - began)

        await carry_out_all(it, chosen, without, ended, commit=commit, at_once=options.at_once)
    print(dict(counts), f"in {time.monotonic() - began:.0f} s", flush=True)
    return not counts["failed"] and not counts["broken"]


def _tell(result: Result, counts: Counter[str], total: int, seconds: float) -> None:
    done = counts.total()
    if result.verdict in {"failed", "broken"} or result.alarms:
        print(f"{result.verdict.upper()} {result.key}", flush=True)
        for text in (*result.violations, *result.alarms):
            print(f"    {text}", flush=True)
    if done % 20 == 0 or done == total:
        print(f"{done}/{total} in {seconds:.0f} s: {dict(counts)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a plan fails, else 0."""
    parser = argparse.ArgumentParser(prog="python -m reliability.campaign", description=__doc__)
    parser.add_argument("--shard", default="1/1", help="which part of how many, such as 2/4")
    parser.add_argument("--sample", type=int, default=0, help="carry out a fixed sample of so many plans")
    parser.add_argument("--only", default="", help="carry out plans whose key contains this")
    parser.add_argument(
        "--workload", action="append", choices=WORKLOADS, help="carry out plans of this one; repeatable"
    )
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="how many plans run at a time (%(default)s)")
    parser.add_argument("--again", action="store_true", help="also what was carried out before")
    parser.add_argument("--results", type=Path, default=results.DEFAULT, help="file to add results to (%(default)s)")
    parser.add_argument(
        "--table", action="store_true", help="only write docs/reliability.md's table from these results"
    )
    options = parser.parse_args(arguments)
    good = True
    if not options.table:
        with contextlib.suppress(KeyboardInterrupt):
            good = asyncio.run(campaign(options))
    if options.table or options.results == results.DEFAULT:
        table.write(results.read(options.results).values())
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
