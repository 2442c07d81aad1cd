"""The operator beside a cluster, as the shipped ServiceAccount: as its own process, or as a thread of this one."""

import asyncio
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from connect_autoscaler.runner import Options, run
from harness.background import Background, Signals
from harness.installation import DEPLOY, USER, install
from harness.rights import missing
from sandbox import Cluster, NotYetError, eventually
from sandbox.components import environment, free_ports, healthy
from sandbox.errors import tail
from sandbox.processes import Processes

_NAME: Final = "operator"
_READY_LIMIT: Final = 30.0


class _Processes(Processes):
    def code(self, name: str) -> int:
        """Return the exit code of a program that has ended; negative: the signal that killed it."""
        return self._ended[name].result()

    async def end(self, name: str) -> int:
        """Wait for the end that a program comes to by itself, as it is meant to; return its exit code."""
        self._expected.add(name)
        return await asyncio.shield(self._ended[name])


class Operator:
    """`python -m connect_autoscaler run` in a process, which ends with this one, whatever ends it.

        async with Operator(cluster) as operator:
            ...

    The context installs deploy/ on the cluster, starts the operator and waits until it is ready; at the end it stops
    it, the exit code has to be 0, and RBAC must have refused nothing that deploy/ does not grant.

    Args:
        cluster: Where.
        arguments: More of the command line, such as `--verbose`.
        kubeconfig: Instead of the ServiceAccount's, for a proxy or other rights.
        env: More variables.
        name: Of its log, so that several can be told apart.
        deploy: What is installed: deploy/ or one of its overlays.

    Attributes:
        user: Its name in audit logs.
        port: Where /healthz and /readyz are; another one after each start.
    """

    user: Final = USER

    def __init__(
        self,
        cluster: Cluster,
        *arguments: str,
        kubeconfig: Path | None = None,
        env: Mapping[str, str] | None = None,
        name: str = _NAME,
        deploy: Path = DEPLOY,
    ) -> None:
        self.cluster = cluster
        self.name = name
        self._deploy = deploy
        self.port = 0
        self._arguments = arguments
        self._kubeconfig = kubeconfig
        self._env = {**environment(cluster.dir), **(env or {})}
        self._processes: _Processes | None = None
        self._since = 0

    async def __aenter__(self) -> Self:
        kubeconfig = install(self.cluster, self._deploy)
        self._kubeconfig = self._kubeconfig or kubeconfig
        self._since = self.cluster.audit.marker()
        self._processes = await _Processes.open(self.cluster.dir / "logs")
        try:
            await self.start()
        except BaseException:
            await self._processes.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.running:
                await self.stop()
            elif error is None:
                self._open.check()  # it may have ended, but not by itself
        finally:
            await self._open.close()
        assert error or not (refused := missing(self.cluster, since=self._since)), refused

    @property
    def _open(self) -> _Processes:
        assert self._processes is not None, "the operator's context is not entered"
        return self._processes

    @property
    def running(self) -> bool:
        return self._open.running(self.name)

    @property
    def pid(self) -> int:
        return self._open.pid(self.name)

    @property
    def log_file(self) -> Path:
        return self._open.log(self.name)

    def log(self) -> str:
        """Everything it has said, also before restarts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def healthy(self, path: str = "/healthz") -> bool:
        """Tell whether a probe answers 200."""
        return healthy(f"http://127.0.0.1:{self.port}{path}")

    async def start(self) -> None:
        """Start it and wait for /readyz.

        Raises:
            SandboxError: If it ends instead, with the end of its log.
            NotYetError: If it does not get ready.
        """
        (self.port,) = free_ports(1)
        command = [sys.executable, "-m", "connect_autoscaler", "run", "--kubeconfig", str(self._kubeconfig)]
        command += ["--liveness-port", str(self.port)]
        await self._open.start(self.name, [*command, *self._arguments], self._env)

        def ready_or_dead() -> bool:
            return not self.running or self.healthy("/readyz")

        try:
            await eventually(ready_or_dead, timeout=_READY_LIMIT, interval=0.05)
        except NotYetError as error:
            error.add_note(f"the operator's last lines:\n{tail(self.log())}")
            raise
        self._open.check()

    async def stop(self) -> None:
        """End it as Kubernetes does, by SIGTERM; it has to exit with 0."""
        await self._open.stop(self.name)
        code = self._open.code(self.name)
        assert code == 0, f"the operator ended with code {code}; its last lines:\n{tail(self.log())}"

    async def kill(self) -> None:
        """End it by SIGKILL, as a crash or a lost node would."""
        await self._open.kill(self.name)

    async def end(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        return await self._open.end(self.name)

    async def restart(self) -> None:
        """Stop and start it."""
        await self.stop()
        await self.start()


class LocalOperator:
    """The operator in a thread of this process: starts in milliseconds, and debuggers and coverage see it.

        async with LocalOperator(cluster) as operator:
            ...

    Args:
        cluster: Where.
        options: Fields of `connect_autoscaler.runner.Options`; `kubeconfig` is the ServiceAccount's unless given.
    """

    user: Final = USER

    def __init__(self, cluster: Cluster, **options: Any) -> None:
        self.cluster = cluster
        self._options = options
        self._log = _Log()
        self._background: Background | None = None
        self._since = 0

    async def __aenter__(self) -> Self:
        self._options = {"kubeconfig": str(install(self.cluster)), **self._options}
        self._since = self.cluster.audit.marker()
        logging.getLogger().addHandler(self._log)
        try:
            await self.start()
        except BaseException:
            logging.getLogger().removeHandler(self._log)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            logging.getLogger().removeHandler(self._log)
        assert error or not (refused := missing(self.cluster, since=self._since)), refused

    def log(self) -> str:
        """What it has said, at the levels that logging is set to."""
        return "\n".join(self._log.lines)

    async def start(self) -> None:
        """Start it and wait until its caches are complete; raises what ended it instead."""
        self._background = Background(_NAME, self._run)
        self._log.thread = self._background.thread.name
        await self._background.start(_READY_LIMIT)

    async def stop(self) -> None:
        """End it in good order; raises what ended it before."""
        if self._background:
            background, self._background = self._background, None
            await background.stop()

    async def restart(self) -> None:
        """Stop and start it."""
        await self.stop()
        await self.start()

    async def _run(self, signals: Signals) -> None:
        await run(Options(**self._options), stop=signals.stop, ready=signals.ready)


class _Log(logging.Handler):
    """Lines of one thread."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = ""
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.threadName == self.thread:
            self.lines.append(self.format(record))
