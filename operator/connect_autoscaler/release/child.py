"""One child process that never outlives its purpose, and whose output is bounded.

It is given anonymous memory for its input and output, and no pipes: a program that complains into a pipe whose reader
has died is ended by SIGPIPE, in the middle of its rollback; and nobody whom it started can hold up its end.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

if sys.platform == "linux":
    import fcntl

_STDERR_LIMIT: Final = 2**20
_STDERR_KEPT: Final = 64 * 2**10
_REAPED: Final = 5.0
"""Seconds that the kernel may take to end what it was told to kill."""
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
# Loaded here, since little is safe between fork and exec; one that keeps the GIL, for the same reason.
_LIBC: Final = ctypes.PyDLL(None) if sys.platform == "linux" else None
_running: Final[set[int]] = set()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        code: Its exit code; minus the signal's number if one killed it.
        stdout: What it wrote, as much as was asked for.
        stderr: The last 64 KiB of its complaints.
    """

    code: int
    stdout: bytes
    stderr: bytes


async def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    stdin: bytes = b"",
    stdout: int = 0,
    inherited: Sequence[int] = (),
    grace: float,
    interruptible: bool = True,
) -> Ended:
    """Run a program to its end, in a process group of its own.

    If the task is cancelled, the program gets SIGTERM and this waits for its end, however often the task is cancelled
    meanwhile; after the grace its whole group gets SIGKILL. Then the cancellation goes on. On Linux it gets
    SIGKILL also when the thread that started it ends, with this process or before.

    Args:
        command: The program and its arguments.
        env: Its whole environment.
        cwd: Where it runs.
        stdin: What it can read.
        stdout: How many bytes it can write; 0: it writes to the null device.
        inherited: File descriptors that stay open for it.
        grace: Seconds.
        interruptible: Whether it ends in good order by SIGTERM; if not, the grace is all that it gets.

    Raises:
        OSError: If it cannot be started.
    """
    loop = asyncio.get_running_loop()
    with memory(len(stdin)) as given, memory(stdout) as said, memory(_STDERR_LIMIT) as complaints:
        given.write(stdin)
        given.seek(0)
        transport, child = await loop.subprocess_exec(
            lambda: _Child(loop),
            *command,
            stdin=given,
            stdout=said if stdout else asyncio.subprocess.DEVNULL,
            stderr=complaints,
            env=dict(env),
            cwd=cwd,
            pass_fds=inherited,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )
        pid = transport.get_pid()
        _running.add(pid)
        try:
            await asyncio.wait({child.exited})
        except asyncio.CancelledError:
            if interruptible:
                _signal(os.kill, pid, signal.SIGTERM)
            await _patiently(child.exited, grace)
            raise
        finally:
            _signal(os.killpg, pid, signal.SIGKILL)
            _running.discard(pid)
            await _patiently(child.exited, _REAPED)
            transport.close()
        return Ended(child.exited.result(), _read(said, stdout), _read(complaints, _STDERR_KEPT))


def kill_all() -> None:
    """End every program that runs, and whom it started, without a chance to do anything more."""
    for pid in tuple(_running):
        _signal(os.killpg, pid, signal.SIGKILL)


@contextlib.contextmanager
def memory(size: int) -> Iterator[IO[bytes]]:
    """Open a file without a name; on Linux it is on no disk, has this size, and does not grow.

    Args:
        size: In bytes; what is not written reads as zeros.
    """
    if sys.platform == "linux":
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        with open(os.memfd_create("connect-autoscaler", flags), "w+b", buffering=0) as file:  # noqa: PTH123 - no path
            file.truncate(size)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
            yield file
    else:
        with tempfile.TemporaryFile(buffering=0) as file:
            yield file


def _read(file: IO[bytes], limit: int) -> bytes:
    """Return the end of what was written: so far the common offset has come."""
    end = file.tell()
    length = min(end, limit)
    return os.pread(file.fileno(), length, end - length)


class _Child(asyncio.SubprocessProtocol):
    """Tells the end. A plain future does, since a task of its own would be cancelled when the loop is shut down."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.exited: asyncio.Future[int] = loop.create_future()
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has been started."""
        assert isinstance(transport, asyncio.SubprocessTransport)  # noqa: S101 - for the type checker
        self._transport = transport

    def process_exited(self) -> None:
        """It has been reaped."""
        code = self._transport.get_returncode() if self._transport else None
        self.exited.set_result(-signal.SIGKILL if code is None else code)


async def _patiently(future: asyncio.Future[int], seconds: float) -> None:
    """Wait, even if cancelled: the caller is about to raise CancelledError anyway."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not future.done() and (left := deadline - loop.time()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({future}, timeout=left)


def _signal(send: Callable[[int, int], None], pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(pid, number)


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return what the child does first: have the kernel kill it as soon as its parent is no more."""
    if _LIBC is None:
        return None
    prctl = _LIBC.prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before
            os.kill(os.getpid(), signal.SIGKILL)

    return ask
