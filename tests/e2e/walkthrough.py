"""Pages that a reader follows command by command, played as the reader would.

A page's ```console blocks hold commands (`$ `, going on where a line ends with a backslash) and, below each, lines that
it has to print, in this order; others may stand between them. `…` in a line is any text, a line of its own says only
that something was left out. Comments before a block say what is special about it: `<!-- exit 1 -->` the exit code of
its last command, `<!-- stays -->` that its command is left running.
"""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness.installation import ROOT
from sandbox import Cluster, eventually
from sandbox.processes import Processes

ELLIPSIS: Final = "…"
_BLOCK: Final = re.compile(r"(?:^<!-- (?P<mark>[^>]*) -->\n)?^```console\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LIMIT: Final = 600.0
"""Seconds that a command may take; commands of the pages have limits of their own, for a machine that is not busy."""


@dataclass(frozen=True)
class Step:
    """A command of a page.

    Attributes:
        command: For the shell.
        expected: Lines of its output.
        code: Its exit code.
        stays: Whether it goes on running.
    """

    command: str
    expected: tuple[str, ...]
    code: int = 0
    stays: bool = False


def steps(text: str) -> Iterator[Step]:
    """Yield the commands of a page in Markdown, in order."""
    for block in _BLOCK.finditer(text):
        mark = block["mark"] or ""
        found = [part.splitlines() for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]]
        for number, lines in enumerate(found, 1):
            length = next(i for i, line in enumerate(lines, 1) if not line.endswith("\\"))
            expected = tuple(line for line in lines[length:] if line.strip() not in {"", ELLIPSIS})
            code = int(mark.removeprefix("exit ")) if mark.startswith("exit ") and number == len(found) else 0
            yield Step("\n".join(lines[:length]), expected, code, stays=mark == "stays")


def missing(expected: Sequence[str], printed: str) -> str | None:
    """Return the first line that was not printed in its turn; None if all were. Blanks count as one."""
    lines = iter(" ".join(line.split()) for line in printed.splitlines())
    for each in expected:
        pattern = ".*".join(map(re.escape, " ".join(each.split()).split(ELLIPSIS)))
        if not any(re.fullmatch(pattern, line) for line in lines):
            return each
    return None


class Reader:
    """Somebody in the repository's folder, with a shell that finds the cluster and the programs.

    Args:
        cluster: A fresh one.
    """

    def __init__(self, cluster: Cluster) -> None:
        links = cluster.dir / "bin"
        links.mkdir(exist_ok=True)
        for name in ("kubectl", "helm"):
            (links / name).symlink_to(cluster.binary(name))
        path = f"{links}:{Path(sys.executable).parent}:{cluster.environment['PATH']}"
        self._env = {**cluster.environment, "PATH": path, "NO_COLOR": "1", "COLUMNS": "200"}
        self._logs = cluster.dir / "logs"
        self._terminals: Processes | None = None
        self._opened: list[str] = []

    async def __aenter__(self) -> Self:
        self._terminals = await Processes.open(self._logs)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._terminals is not None
        for name in self._opened:
            await self._terminals.stop(name)
        await self._terminals.close()

    async def follow(self, page: str) -> int:
        """Do everything a page's text says; return the number of commands.

        Raises:
            AssertionError: If a command does not end or print as the page says.
        """
        found = list(steps(page))
        for step in found:
            await (self._leave(step) if step.stays else self._do(step))
        return len(found)

    async def _do(self, step: Step) -> None:
        began = time.monotonic()
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-c", step.command],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        print(f"{time.monotonic() - began:5.1f} s  {step.command}")
        said = f"$ {step.command}\n{done.stdout}"
        assert done.returncode == step.code, f"exit code {done.returncode}:\n{said}"
        lacks = missing(step.expected, done.stdout)
        assert lacks is None, f"does not print {lacks!r} in its turn:\n{said}"

    async def _leave(self, step: Step) -> None:
        assert self._terminals is not None
        name = f"terminal-{len(self._opened)}"
        await self._terminals.start(name, ["bash", "-c", f"cd {ROOT} && exec {step.command}"], self._env)
        self._opened.append(name)
        log = self._terminals.log(name)
        await eventually(lambda: missing(step.expected, log.read_text()) is None, timeout=_LIMIT / 10)
