"""Measure the operator against a floor and kro: `python -m benchmarks`."""

import asyncio
import json
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.api import ApiError
from benchmarks.contenders import CONTENDERS
from benchmarks.measure import Run, measure
from benchmarks.observer import TooLateError
from benchmarks.process import ContenderError
from benchmarks.results import FIGURES, GOALS, RSS_EMPTY, Runs, cost, document, machine
from benchmarks.world import World
from sandbox import Parts, SandboxError
from sandbox.build import ensure
from sandbox.cluster import requirements

_MARKS = {True: "[green]pass", False: "[red]falls short", None: "not measured"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="One run, 50 edits.")
@click.option("--only", help=f"Contenders, separated by commas, out of {', '.join(CONTENDERS)}.")
@click.option("--runs", default=3, show_default=True, help="Runs of each contender; figures are medians over them.")
@click.option("--edits", default=200, show_default=True, help="Single edits in a run.")
@click.option("--profiles", default=100, show_default=True, help="Parents, with two NodePools each.")
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
def main(*, quick: bool, only: str | None, runs: int, edits: int, profiles: int, target: Path | None) -> None:
    """Measure cold start, healing, memory, CPU and writes on a real API server.

    Each run of each contender has a control plane of its own; contenders take turns. It needs Linux, and a quiet
    machine: whatever else runs makes the figures worse.
    """
    chosen = only.split(",") if only else list(CONTENDERS)
    if unknown := [name for name in chosen if name not in CONTENDERS]:
        raise click.BadParameter(f"{unknown[0]} is none of {', '.join(CONTENDERS)}", param_hint="--only")
    if sys.platform != "linux":
        raise click.ClickException("memory and CPU are read from /proc, so this needs Linux")
    if quick:
        runs, edits = 1, 50
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        ensure([*requirements(Parts.API, "1.14"), *(need for name in chosen for need in CONTENDERS[name].requires)])
        line = machine()
        results = asyncio.run(_measure_all(chosen, World.of(profiles), runs, edits))
    except (SandboxError, ContenderError, TooLateError, ApiError) as error:
        raise click.ClickException("\n".join((str(error), *getattr(error, "__notes__", ())))) from error
    settings = {"runs": runs, "edits": edits, "profiles": profiles}
    _show(console, results, line, settings)
    if target:
        target.write_text(json.dumps(document(results, settings, line), indent=2) + "\n")


async def _measure_all(chosen: list[str], world: World, runs: int, edits: int) -> Runs:
    results: dict[str, list[Run]] = {name: [] for name in chosen}
    for number in range(runs):
        turn = number % len(chosen)
        for name in (*chosen[turn:], *chosen[:turn]):
            started = time.monotonic()
            results[name].append(await measure(CONTENDERS[name], world, edits))
            click.echo(f"run {number + 1} of {runs}: {name}, {time.monotonic() - started:.0f} s", err=True)
    return results


def _show(console: Console, runs: Runs, line: str, settings: dict[str, int]) -> None:
    console.print(line, highlight=False)
    console.print(
        f"{settings['profiles']} parents with two NodePools each, {settings['edits']} single edits, "
        f"medians of {settings['runs']} runs",
        highlight=False,
    )
    figures = Table("", *runs, title="Figures", title_justify="left")
    for figure in FIGURES:
        values = (f"{figure.median(mine):.{2 if figure.unit == 's' else 1}f} {figure.unit}" for mine in runs.values())
        figures.add_row(figure.title, *values)
    if "ours" in runs:
        figures.add_row(RSS_EMPTY.title, f"{RSS_EMPTY.median(runs['ours']):.1f} {RSS_EMPTY.unit}")
    console.print(figures)
    costs = Table("", *runs, title="CPU of the process, writes + Kubernetes events, by phase", title_justify="left")
    for phase in ("cold", "stamp", "heal", "mass"):
        each = (cost(mine, phase) for mine in runs.values())
        costs.add_row(phase, *(f"{it.cpu:.2f} s, {it.writes} + {it.events}" for it in each))
    console.print(costs)
    goals = Table("goal", "measured", "", title="Goals", title_justify="left")
    for goal in GOALS:
        ratio = goal.ratio(runs)
        goals.add_row(goal.text, "" if ratio is None else f"{ratio:.2f}", _MARKS[goal.met(runs)])
    console.print(goals)


if __name__ == "__main__":
    main()
