"""What became of plans: one line of JSON for each, added as it ends, so that a campaign can go on where it was left."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from harness import ROOT
from reliability.invariants import false_alarms, violations
from reliability.plans import Plan
from reliability.seen import Seen

Verdict = Literal["survived", "failed", "missed", "broken"]
"""Missed: the fault met nothing in this run. Broken: the campaign itself failed."""
DEFAULT: Final = ROOT / "build" / "reliability" / "plans.jsonl"


@dataclass(frozen=True)
class Result:
    """What became of one plan.

    Attributes:
        key: Of the plan.
        workload: Of the plan.
        kind: Of the plan.
        verdict: See `Verdict`.
        commit: Of the product, with `+` behind it if files were changed since.
        violations: What must never happen and did.
        alarms: What was reported and had not happened.
        seconds: From the first step to the end state.
        faults: How many requests or events were met.
        requests: How many requests there were from the first step to the last restart.
        writes: How many of them changed something, without Kubernetes Events.
        crashes: How often the operator was killed.
        time: When it ended.
    """

    key: str
    workload: str
    kind: str
    verdict: Verdict
    commit: str
    violations: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    seconds: float = 0.0
    faults: int = 0
    requests: int = 0
    writes: int = 0
    crashes: int = 0
    time: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

    @classmethod
    def of(cls, plan: Plan, seen: Seen, undisturbed: Seen, commit: str) -> "Result":
        """Judge a plan that was carried out."""
        wrong = violations(seen, undisturbed)
        end = seen.restarted or seen.cleaned
        entries = seen.record.entries()[seen.mark : end]
        return cls(
            key=plan.key,
            workload=plan.workload,
            kind=plan.kind,
            verdict="failed" if wrong else "survived" if seen.fired else "missed",
            commit=commit,
            violations=[text[:1000] for text in wrong],
            alarms=false_alarms(seen),
            seconds=round(seen.seconds, 2),
            faults=seen.fired,
            requests=len(entries),
            writes=sum(1 for each in entries if each.committed and each.request.resource != "events"),
            crashes=seen.crashes,
        )


def commit() -> str:
    """Return the abbreviated id of the commit at hand, with `+` if files have changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, text=True, capture_output=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "operator", "crds", "tests/reliability")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def append(file: Path, result: Result) -> None:
    """Add a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lines:
        lines.write(json.dumps(asdict(result)) + "\n")


def read(file: Path) -> dict[str, Result]:
    """Return the last result of each plan."""
    return {result.key: result for result in _lines(file)}


def _lines(file: Path) -> Iterator[Result]:
    if file.exists():
        for line in file.read_text().splitlines():
            yield Result(**json.loads(line))
