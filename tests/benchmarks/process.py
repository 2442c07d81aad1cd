"""A contender's process: started, awaited, looked at through /proc, ended."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sandbox.errors import tail

_TICK: Final = os.sysconf("SC_CLK_TCK")
_GRACE: Final = 15.0


class ContenderError(Exception):
    """A contender did not do what it is here for."""


class Process:
    """A running program."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process, self._log = process, log

    @classmethod
    @asynccontextmanager
    async def running(cls, argv: Sequence[str], env: Mapping[str, str], log: Path) -> AsyncIterator["Process"]:
        """Run a program while the context lasts; its output is appended to a file."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(log.parent), **env},
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        it = cls(process, log)
        try:
            yield it
            it.check()
        except Exception as error:
            error.add_note(f"the last lines of {log.name}:\n{tail(it.output)}")
            raise
        finally:
            await it._end()

    def check(self) -> None:
        """Raise a ContenderError if it has ended by itself."""
        if self._process.returncode is not None:
            raise ContenderError(f"{self._log.stem} ended by itself; its last lines:\n{tail(self.output)}")

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    async def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    @property
    def rss(self) -> float:
        """Resident memory in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def cpu(self) -> float:
        """CPU seconds used so far, in steps of the kernel's tick (10 ms)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    async def _end(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE)
        except TimeoutError:
            print(f"{self._log.stem} ignored SIGTERM for {_GRACE:g} s and is killed", file=sys.stderr)
            self._process.kill()
            await self._process.wait()
