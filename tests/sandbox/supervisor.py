"""A small process that owns the components of one cluster and never outlives its usefulness.

It starts programs on request and stops all of them when its standard input closes. That happens in every way in which
the process that asked can end: by itself, by an exception, by Ctrl-C, by SIGTERM, by SIGKILL. It needs nothing but the
standard library, so that it starts in milliseconds, and nothing that only Linux has.

Requests and events are JSON objects, one a line:
    {"do": "start", "name", "argv", "env", "log"}  ->  {"event": "started", "name", "pid"}
                                                       or {"event": "failed", "name", "error"}
    {"do": "stop", "name"}                         ->  nothing by itself
    {"do": "kill", "name"}                         ->  nothing by itself
    whenever a program ends                        ->  {"event": "ended", "name", "code"}
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from typing import Any

# Two polite requests, then no more. kube-apiserver ignores the first one while etcd is gone; etcd alone takes 7 s, but
# nothing while no client is connected.
_PATIENCE = ((signal.SIGTERM, 8.0), (signal.SIGTERM, 4.0), (signal.SIGKILL, 4.0))


class Supervisor:
    def __init__(self) -> None:
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Obey until the other end of standard input is gone, then stop everything, last started first."""
        requests = asyncio.StreamReader(limit=2**20)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, requests.feed_eof)
        try:
            async for line in requests:
                if line.endswith(b"\n"):  # the other end may have been killed in the middle of one
                    await self._obey(json.loads(line))
        finally:
            # A restarted program keeps its place in the dictionary: etcd is the last one whatever happened before.
            for name in reversed(list(self._running)):
                await self._stop(name)

    async def _obey(self, request: dict[str, Any]) -> None:
        name = request["name"]
        if request["do"] == "start":
            await self._start(name, request["argv"], request["env"], request["log"])
        elif request["do"] == "kill":
            self._signal(name, signal.SIGKILL)
        else:
            task = asyncio.create_task(self._stop(name))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def _start(self, name: str, argv: list[str], env: dict[str, str], log: str) -> None:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a process group of its own, which _signal addresses
                cwd="/",
            )
        except OSError as error:
            _tell(event="failed", name=name, error=str(error))
            return
        finally:
            os.close(output)
        self._running[name] = process
        _tell(event="started", name=name, pid=process.pid)
        self._watchers[name] = asyncio.create_task(self._watch(name, process))

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        _tell(event="ended", name=name, code=code)

    def _signal(self, name: str, number: int) -> None:
        process = self._running[name]
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)

    async def _stop(self, name: str) -> None:
        for number, seconds in _PATIENCE:
            self._signal(name, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._watchers[name]), seconds)
                return


def _tell(**event: object) -> None:
    # The other end may be gone; that is the very moment this process exists for.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Serve one cluster; `--remove DIR` deletes its directory after the last program has ended."""
    try:
        asyncio.run(Supervisor().run())
    finally:
        if sys.argv[1:2] == ["--remove"]:
            shutil.rmtree(sys.argv[2], ignore_errors=True)
    os._exit(0)  # a closed standard output must not turn into an error while the interpreter flushes it


if __name__ == "__main__":
    main()
