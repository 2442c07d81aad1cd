"""One life of the operator behind a proxy of its own: in a thread, with its log, until it ends or is cut off."""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from connect_autoscaler import runner
from connect_autoscaler.core import holders
from connect_autoscaler.core.release_store import this_process
from connect_autoscaler.release import child
from connect_autoscaler.runner import Options, run
from harness.background import Background, Signals
from reliability.haste import replaced
from reliability.proxy import Proxy
from sandbox import eventually
from sandbox.components import environment

_LOGGERS: Final = ("connect_autoscaler", "kopf", "asyncio")
_PROXY: Final = "aiohttp.server"
"""The proxies' own: they break connections, and so does the operator."""
_NOBODY: Final = logging.NullHandler()
_NUMBERS: Final = itertools.count(1)
_READY_LIMIT: Final = 60.0
_STOP_LIMIT: Final = 60.0
_POLL: Final = 0.01


_ALIVE: Final[set[int]] = set()
"""Threads of incarnations that live."""


@contextlib.contextmanager
def threads_as_processes() -> Iterator[None]:
    """Have an operator of this process, asked by the next one whether it lives, answer for its thread."""
    with replaced(
        (holders, "_alive", _ALIVE.__contains__),
        (runner, "this_process", lambda: replace(this_process(), process=threading.get_native_id())),
    ):
        yield


class Log(logging.Handler):
    """Lines of one thread, all or the last ones."""

    def __init__(self, thread: str, last: int | None = None) -> None:
        super().__init__()
        self.thread = thread
        self.lines: deque[str] = deque(maxlen=last)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.threadName == self.thread:
            self.lines.append(self.format(record))


def _listen(log: Log) -> None:
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(log)


@contextlib.contextmanager
def logs_apart() -> Iterator[None]:
    """Have operators of this process tell what they do, but only to those who listen: they are many."""
    before = [(logger, logger.level, logger.propagate) for logger in map(logging.getLogger, (*_LOGGERS, _PROXY))]
    for logger, _, _ in before:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(_NOBODY)
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.setLevel(level)
            logger.propagate = propagate
            logger.removeHandler(_NOBODY)


class Incarnation:
    """The operator in a thread. To be killed, its proxy is cut: nothing it still does reaches the API server.

    Helm is killed with it: the kernel does so when a thread ends that has started it, and this when it is to die.

    Attributes:
        proxy: Its way to the API server.
        log: What it says.
    """

    def __init__(self, proxy: Proxy, kubeconfig: Path, *, last: int | None = None, **options: Any) -> None:
        """Be ready to start.

        Args:
            proxy: Open already.
            kubeconfig: Whose credentials it has.
            last: How many lines of the log are kept; None: all.
            options: Fields of `connect_autoscaler.runner.Options`.
        """
        name = f"operator {next(_NUMBERS)}"
        self.proxy, self.log = proxy, Log(name, last)
        self._kubeconfig = str(proxy.kubeconfig(kubeconfig))
        self._options = Options(kubeconfig=self._kubeconfig, **options)
        self._background = Background(name, self._run)
        self._entered = threading.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def ended(self) -> bool:
        """Tell whether it has ended by itself."""
        return not self._background.thread.is_alive()

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        _listen(self.log)
        self._background.thread.start()

    async def start(self) -> None:
        """Start it and wait until its caches are complete."""
        _listen(self.log)
        await self._background.start(_READY_LIMIT)

    async def stop(self) -> str | None:
        """End it in good order; gives what it ended with before, if it did."""
        await eventually(lambda: self.ended or self._entered.is_set(), interval=_POLL)  # until then it would not hear
        killing = asyncio.create_task(self._kill()) if self.proxy.died.done() else None
        try:
            await self._background.stop(_STOP_LIMIT)
        except Exception as error:  # noqa: BLE001 - whatever ended it is for the caller to judge
            return f"{type(error).__name__}: {error}"
        finally:
            if killing:
                killing.cancel()
            for name in _LOGGERS:
                logging.getLogger(name).removeHandler(self.log)
        return None

    async def _kill(self) -> None:
        """Kill each helm that it has started, or starts yet."""
        _ALIVE.discard(self._background.thread.native_id or 0)
        while True:
            for pid in tuple(child._running):
                with contextlib.suppress(OSError):  # it has ended
                    if self._kubeconfig in _environment(pid):
                        os.killpg(pid, signal.SIGKILL)
            await asyncio.sleep(_POLL)

    async def _run(self, signals: Signals) -> None:
        _ALIVE.add(threading.get_native_id())
        self._entered.set()
        try:
            await run(self._options, stop=signals.stop, ready=signals.ready)
        finally:
            _ALIVE.discard(threading.get_native_id())


def _environment(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text(errors="replace")


class ProcessIncarnation:
    """The same as a process of its own, with the product's own times; to be killed means SIGKILL.

    Attributes:
        proxy: Its way to the API server.
        log: What it says, once it has ended.
    """

    def __init__(self, proxy: Proxy, kubeconfig: Path, **options: Any) -> None:
        """Be ready to start; see `Incarnation`."""
        self.proxy, self.log = proxy, Log("")
        named = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
        self._arguments = [text for name, value in named.items() for text in (name, value) if text is not True]
        self._kubeconfig = proxy.kubeconfig(kubeconfig)
        self._output = self._kubeconfig.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ended(self) -> bool:
        """Tell whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        command = [sys.executable, "-m", "connect_autoscaler", "run", "--kubeconfig", str(self._kubeconfig)]
        command += self._arguments
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment(self.proxy.cluster.dir), stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )

    async def stop(self) -> str | None:
        """End it: by SIGKILL if it is to die, else in good order; gives its exit code if that is not 0."""
        assert self._process is not None
        dying, running = self.proxy.died.done(), not self.ended
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL if dying else signal.SIGTERM)
        try:
            code = await asyncio.to_thread(self._process.wait, _STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = await asyncio.to_thread(self._process.wait)
        self.log.lines.extend(self._output.read_text(errors="replace").splitlines())
        asked = {0, -signal.SIGKILL} if dying else {0, -signal.SIGTERM}  # it may not even have begun to listen
        return None if code in asked and running else f"exit code {code}"
