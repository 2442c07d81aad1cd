"""What the demo says: in colour and with spinners on a terminal, in plain lines anywhere else."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDTH = 170  # columns where nobody tells how many there are


class Show:
    """A console with the demo's few ways to say something."""

    def __init__(self) -> None:
        console = Console(highlight=False)
        self.console = console if console.is_terminal else Console(highlight=False, width=_WIDTH)

    def title(self, text: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{escape(text)}", align="left")

    def say(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, markup=False)

    def command(self, line: str, output: str = "") -> None:
        """Show a command line as if typed, and what it printed."""
        self.console.print(f"[bold cyan]$[/] [bold]{escape(line)}", soft_wrap=True)
        if output:
            self.console.print(output.rstrip(), markup=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show that something goes on, and how long it took."""
        started = time.perf_counter()
        if self.console.is_terminal:
            with self.console.status(escape(text)):
                yield
        else:
            self.say(f"{text} ...")
            yield
        self.console.print(f"[green]✓[/] {escape(text)} [dim]({time.perf_counter() - started:.1f} s)")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> None:
        """Show rows; cells may carry rich's markup.

        Args:
            columns: Heads.
            rows: Cells.
            right: Heads of columns that are aligned to the right.
        """
        table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for head in columns:
            table.add_column(head, justify="right" if head in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)
