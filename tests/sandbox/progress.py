"""Shows how a build goes on: a bar for each tool on a terminal, plain lines anywhere else."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import rich.progress
from rich.console import Console

_HEARTBEAT = 60.0


@dataclass
class Step:
    """One build; it counts the packages that were compiled."""

    title: str
    done: int = 0
    total: int | None = None

    def expect(self, total: int) -> None:
        self.total = total

    def advance(self) -> None:
        self.done += 1


class Progress:
    """Progress of several builds.

    Args:
        total: How many builds there are.
        console: Where to write; standard error if not given.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._total = total
        self._number = 0
        self._bars = rich.progress.Progress(
            rich.progress.SpinnerColumn(finished_text="[green]✓"),
            "[progress.description]{task.description}",
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            "packages",
            rich.progress.TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        self._console.print(line, markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show one build while the body runs."""
        self._number += 1
        step = Step(title)
        number = f"({self._number} of {self._total})"
        started = time.monotonic()
        finished = threading.Event()
        follow = self._follow_bar if self._console.is_terminal else self._follow_lines
        watcher = threading.Thread(target=follow, args=(step, number, finished), daemon=True)
        watcher.start()
        try:
            yield step
        finally:
            finished.set()
            watcher.join()
        if not self._console.is_terminal:
            self.say(f"done in {time.monotonic() - started:.0f} s")

    def _follow_bar(self, step: Step, number: str, finished: threading.Event) -> None:
        task = self._bars.add_task(f"building {step.title} {number}", total=None)
        while not finished.wait(0.2):
            self._bars.update(task, completed=step.done, total=step.total)
        # What Go's own cache had was not compiled and not counted.
        self._bars.update(task, completed=step.total or step.done, total=step.total or step.done)

    def _follow_lines(self, step: Step, number: str, finished: threading.Event) -> None:
        self.say(f"building {step.title} {number} ...")
        started = time.monotonic()
        while not finished.wait(_HEARTBEAT):
            of = f" of {step.total}" if step.total else ""
            minutes = (time.monotonic() - started) / 60
            self.say(f"still building {step.title}: {step.done}{of} packages after {minutes:.0f} min")
