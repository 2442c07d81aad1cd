"""From runs to figures: medians, ratios, goals."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.measure import Cost, Run
from sandbox.tools import TOOLS, tool_of

Runs = Mapping[str, Sequence[Run]]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all values does not exceed (nearest rank)."""
    return sorted(values)[ceil(share * len(values)) - 1]


@dataclass(frozen=True)
class Figure:
    """One thing that is measured."""

    title: str
    unit: str
    of: Callable[[Run], float]

    def median(self, runs: Sequence[Run]) -> float:
        """Return the median over the runs of one contender."""
        return median(self.of(run) for run in runs)


COLD: Final = Figure("cold: all NodePools of new parents", "s", lambda run: run.cold)
START: Final = Figure("start: process start to all NodePools", "s", lambda run: run.start)
P50: Final = Figure("heal p50", "ms", lambda run: 1000 * percentile(run.heals, 0.5))
P99: Final = Figure("heal p99", "ms", lambda run: 1000 * percentile(run.heals, 0.99))
MASS: Final = Figure("every NodePool edited at once, all right", "s", lambda run: run.mass)
RSS_COLD: Final = Figure("RSS after cold", "MiB", lambda run: run.rss_cold)
RSS: Final = Figure("RSS at the end", "MiB", lambda run: run.rss_end)
RSS_EMPTY: Final = Figure("RSS of an empty Kopf operator", "MiB", lambda run: run.rss_empty)
FIGURES: Final = (COLD, START, P50, P99, MASS, RSS_COLD, RSS)


@dataclass(frozen=True)
class Goal:
    """An upper bound of one of our figures: so many times a figure of a contender, or an absolute value."""

    figure: Figure
    factor: float
    beside: str | None
    """Name of the contender, `empty` for the empty Kopf operator, None for an absolute bound."""

    @property
    def text(self) -> str:
        """The goal in words."""
        if self.beside is None:
            return f"{self.figure.title} <= {self.factor:g} {self.figure.unit}"
        return f"{self.figure.title} <= {self.factor:g} x {self.beside}"

    def ratio(self, runs: Runs) -> float | None:
        """Return our figure over the other one (or over 1, if the bound is absolute); None if one was not measured."""
        if "ours" not in runs or self.beside not in {None, "empty", *runs}:
            return None
        ours = self.figure.median(runs["ours"])
        if self.beside is None:
            return ours
        other = RSS_EMPTY.median(runs["ours"]) if self.beside == "empty" else self.figure.median(runs[self.beside])
        return ours / other

    def met(self, runs: Runs) -> bool | None:
        """Return whether it is reached; None if a contender was not measured."""
        ratio = self.ratio(runs)
        return None if ratio is None else ratio <= self.factor


GOALS: Final = (
    Goal(P50, 2.0, "floor"),
    Goal(P50, 0.5, "kro"),
    Goal(P99, 0.6, "kro"),
    Goal(MASS, 0.7, "kro"),
    Goal(COLD, 1.0, "kro"),
    Goal(RSS, 105, None),
    Goal(RSS, 1.35, "empty"),
)


def cost(runs: Sequence[Run], phase: str) -> Cost:
    """Return the medians of what a phase cost."""
    costs = [run.costs[phase] for run in runs]
    return Cost(
        cpu=median(each.cpu for each in costs),
        writes=round(median(each.writes for each in costs)),
        events=round(median(each.events for each in costs)),
    )


def machine() -> str:
    """Describe what the figures were measured on; other load beside makes all of them worse."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    python = f"Python {platform.python_version()}"
    return ", ".join(
        (
            f"{len(os.sched_getaffinity(0))} cores {models[0] if models else platform.machine()}",
            f"{platform.system()} {platform.release()}",
            python,
            *(tool.title for tool in TOOLS if tool.name in {"etcd", "kubernetes"}),
            tool_of("kro").title,
            "etcd without fsync",
            f"load {load}",
        )
    )


def document(runs: Runs, settings: Mapping[str, Any], machine_line: str) -> dict[str, Any]:
    """Return everything as JSON: settings, medians, goals, and every single run."""
    return {
        "machine": machine_line,
        "settings": dict(settings),
        "medians": {
            name: {figure.title: round(figure.median(mine), 4) for figure in FIGURES} for name, mine in runs.items()
        },
        "goals": [{"goal": g.text, "value": g.ratio(runs), "met": g.met(runs)} for g in GOALS],
        "runs": {name: [asdict(run) for run in mine] for name, mine in runs.items()},
    }
