"""The near end of the supervisor: start, stop and watch the programs of one cluster."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from sandbox.errors import SandboxError, tail

# The supervisor's own limits (16 s for each of six programs) add up to less.
_CLOSE_LIMIT = 100.0


class Processes:
    """The programs of one cluster, each in a process group of its own, its output in `<logs>/<name>.log`."""

    def __init__(self, supervisor: asyncio.subprocess.Process, logs: Path) -> None:
        self._supervisor = supervisor
        self._logs = logs
        self._started: dict[str, asyncio.Future[int]] = {}
        self._ended: dict[str, asyncio.Future[int]] = {}
        self._expected: set[str] = set()
        self._pids: dict[str, int] = {}
        self._crash = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, logs: Path, remove: Path | None = None) -> Self:
        """Start the supervisor.

        Args:
            logs: An existing directory for the output of the programs.
            remove: A directory that goes when everything has ended, whatever ended it; None keeps all.
        """
        argv = [sys.executable, "-I", "-S", str(Path(__file__).with_name("supervisor.py"))]
        supervisor = await asyncio.create_subprocess_exec(
            *argv,
            *(("--remove", str(remove)) if remove else ()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # out of reach of the terminal's Ctrl-C
        )
        return cls(supervisor, logs)

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def tail(self, name: str) -> str:
        """Return the last lines that a program wrote, for an error message."""
        log = self.log(name)
        return tail(log.read_text(errors="replace") if log.exists() else "")

    def pid(self, name: str) -> int:
        """Return the process id of a running program."""
        return self._pids[name]

    def running(self, name: str) -> bool:
        return name in self._pids

    def crashed(self) -> list[str]:
        """Return one line for every program that ended although nobody asked it to."""
        return [
            f"{name} ended with code {ended.result()}; its last lines:\n{self.tail(name)}"
            for name, ended in self._ended.items()
            if ended.done() and name not in self._expected
        ]

    def check(self) -> None:
        """Raise a SandboxError if a program has ended by itself."""
        if crashed := self.crashed():
            raise SandboxError("\n".join(crashed))

    async def watch(self) -> None:
        """Wait until a program ends by itself, and raise a SandboxError then."""
        await self._crash.wait()
        self.check()

    # Waiting is shielded: who gives up waiting must not cancel the future that the reader will set.

    async def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start a program; its standard input is /dev/null, its output is appended to its log."""
        if self.running(name):
            raise SandboxError(f"{name} is running already")
        loop = asyncio.get_running_loop()
        self._started[name], self._ended[name] = loop.create_future(), loop.create_future()
        self._expected.discard(name)
        self._ask(do="start", name=name, argv=list(argv), env=dict(env), log=str(self.log(name)))
        await asyncio.shield(self._started[name])

    async def stop(self, name: str) -> None:
        """End a program in good order: SIGTERM to its group, after limits a second one, then SIGKILL."""
        if self.running(name):
            self._expected.add(name)
            self._ask(do="stop", name=name)
            await asyncio.shield(self._ended[name])

    async def kill(self, name: str) -> None:
        """End a program at once with SIGKILL, as a crash would."""
        if self.running(name):
            self._expected.add(name)
            self._ask(do="kill", name=name)
            await asyncio.shield(self._ended[name])

    async def close(self) -> None:
        """Stop everything, in the reverse of the first start's order, and wait until it has ended."""
        self._expected.update(self._ended)
        if self._supervisor.stdin:
            self._supervisor.stdin.close()
        try:
            await asyncio.wait_for(self._supervisor.wait(), _CLOSE_LIMIT)
        finally:
            for pid in self._pids.values():  # only if the supervisor itself was killed or stuck
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            await self._reader

    def _ask(self, **request: Any) -> None:
        if self._supervisor.stdin is None or self._supervisor.stdin.is_closing():
            raise SandboxError("the cluster is stopped")
        self._supervisor.stdin.write(json.dumps(request).encode() + b"\n")

    async def _read(self) -> None:
        events = self._supervisor.stdout
        assert events is not None
        async for line in events:
            event = json.loads(line)
            name = event["name"]
            if event["event"] == "started":
                self._pids[name] = event["pid"]
                self._started[name].set_result(event["pid"])
            elif event["event"] == "failed":
                _fail(self._started[name], SandboxError(f"cannot start {name}: {event['error']}"))
            else:
                self._pids.pop(name, None)
                self._ended[name].set_result(event["code"])
                if name not in self._expected:
                    self._crash.set()
        self._crash.set()
        gone = SandboxError("the process that supervises the cluster has gone")
        for future in (*self._started.values(), *self._ended.values()):
            if not future.done():
                _fail(future, gone)


def _fail(future: asyncio.Future[int], error: SandboxError) -> None:
    future.set_exception(error)
    future.exception()  # it counts as seen: perhaps nobody waits for it
