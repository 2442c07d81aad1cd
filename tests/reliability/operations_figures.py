"""Results of operations and fuzzing: a line of JSON for each chain or batch, and their table in docs/reliability.md."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from harness import ROOT
from reliability.operations import properties

PAGE: Final = ROOT / "docs" / "reliability.md"
DIRECTORY: Final = ROOT / "build" / "reliability"
_BEGIN: Final = "<!-- operations and fuzzing -->"
_END: Final = "<!-- /operations and fuzzing -->"


def append(file: Path, line: Mapping[str, Any]) -> None:
    """Add a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")


def read(file: Path) -> list[dict[str, Any]]:
    """Return the last line of each name."""
    return list({each["name"]: each for each in _lines(file)}.values())


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        yield from map(json.loads, file.read_text().splitlines())


def covered(chains: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many different values each property was given."""
    values = {(path, value) for each in chains for path, value in each["covered"]}
    return dict(Counter(path for path, _ in values))


def rows() -> list[str]:
    """Return the lines of both tables."""
    chains, batches = read(DIRECTORY / "operations.jsonl"), read(DIRECTORY / "fuzz.jsonl")
    values = covered(chains)
    every = properties()
    bad = [each for each in chains if each["violations"]]
    inputs = sum((Counter(each["inputs"]) for each in batches), Counter[str]())
    figures = {
        "chains of operations": len(chains),
        "operations tried": sum(each["accepted"] + each["refused"] + each["rolled_back"] for each in chains),
        "of these accepted, and found in NodePools and values": sum(each["accepted"] for each in chains),
        "of these refused by the API server, nothing changed": sum(each["refused"] for each in chains),
        "of these bad beyond any schema, and taken back": sum(each["rolled_back"] for each in chains),
        "properties of the spec": len(every),
        "properties with 3 values or more": sum(values.get(path, 0) >= 3 for path in every),
        "misoperations that a rollback does not cure": sum("rolled back" in str(each["violations"]) for each in bad),
        "chains that end otherwise than a fresh profile": sum(
            "the way there" in str(each["violations"]) for each in bad
        ),
        "chains with any other violation": len(bad),
        "fuzzed inputs": sum(inputs.values()),
        **{f"of these {name}": number for name, number in sorted(inputs.items())},
        "inputs with an undeclared error": sum(len(each["failures"]) for each in batches),
        "most memory, MiB": max((each["peak"] for each in batches), default=0),
        "slowest input, s of CPU": max((each["slowest"] for each in batches), default=0),
    }
    lines = ["| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures.items())]
    commits = sorted({each["commit"] for each in (*chains, *batches)})
    return [*lines, "", f"Commits: {', '.join(commits)}."]


def write() -> None:
    """Put the table into the page, in the place of the one before."""
    text = PAGE.read_text()
    block = "\n".join((_BEGIN, *rows(), _END))
    if _BEGIN not in text:
        text = f"{text.rstrip()}\n\n{_BEGIN}\n{_END}\n"
    PAGE.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _: block, text, flags=re.DOTALL))
