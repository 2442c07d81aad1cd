"""The table in docs/reliability.md, from the results of a campaign."""

import re
from collections.abc import Iterable
from typing import Final

from harness import ROOT
from reliability.results import Result
from reliability.workloads import RELEASES

PAGE: Final = ROOT / "docs" / "reliability.md"
_BEGIN: Final = "<!-- campaign -->"
_END: Final = "<!-- /campaign -->"
_KINDS: Final = {
    "once": "a fault at one request",
    "thrice": "a fault at three requests in a row",
    "outage": "an outage of ten minutes",
    "crash": "the operator killed before, after or amid a write",
    "kill": "the same with SIGKILL to a process",
    "stream": "events of a watch lost, repeated, exchanged, late, broken",
    "stale": "lists of the past after a start",
}


def rows(found: Iterable[Result]) -> list[str]:
    """Return the lines of the table."""
    everything = list(found)
    lines = [
        "| plans | run | faults met | survived | states lost | not met | false alarms |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = [(text, [each for each in everything if each.kind == kind]) for kind, text in _KINDS.items()]
    releases = [each for each in everything if each.workload in RELEASES]
    for text, group in (*groups, ("**all**", everything), ("of these with a Helm release", releases)):
        met = [each for each in group if each.verdict != "missed"]
        cells = (
            text,
            len(group),
            sum(each.faults for each in met),
            sum(each.verdict == "survived" for each in met),
            sum(each.verdict in {"failed", "broken"} for each in met),
            len(group) - len(met),
            sum(bool(each.alarms) for each in group),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    commits = sorted({each.commit for each in everything})
    lines += ["", f"Commits: {', '.join(commits)}. Last result: {max((e.time for e in everything), default='none')}."]
    return lines


def write(found: Iterable[Result]) -> None:
    """Put the table into the page, in the place of the one before."""
    text = PAGE.read_text()
    block = "\n".join((_BEGIN, *rows(found), _END))
    PAGE.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _: block, text, flags=re.DOTALL))
