"""The supervisor: it stops what it started, in order, however its client ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox import SandboxError, eventually, supervisor
from sandbox.processes import Processes
from sandbox.wait import poll

ENV = {"PATH": os.defpath}
# Writes its name when it has started and when it was asked to end.
LOYAL = 'trap "echo $0 >> ended; exit 0" TERM; echo $0 >> started; while :; do sleep 0.02; done'
# Ignores the first request.
STUBBORN = 'trap "trap - TERM" TERM; echo $0 >> started; while :; do sleep 0.02; done'
DEAF = 'trap "" TERM; echo $0 >> started; while :; do sleep 0.02; done'


def _argv(script: str, name: str, directory: Path) -> list[str]:
    return ["/bin/sh", "-c", f"cd {directory}; {script}", name]


def _lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended but was not collected by its parent does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    running = await Processes.open(tmp_path)
    yield running
    await running.close()


async def _start(processes: Processes, directory: Path, *names: str) -> None:
    for name in names:
        started = directory / "started"
        started.unlink(missing_ok=True)
        await processes.start(name, _argv(LOYAL, name, directory), ENV)
        await eventually(started.exists, interval=0.01)


async def test_stops_in_reverse_order_even_after_a_restart(tmp_path: Path) -> None:
    processes = await Processes.open(tmp_path)
    await _start(processes, tmp_path, "one", "two", "three")
    await processes.stop("one")
    await _start(processes, tmp_path, "one")
    await processes.close()
    assert _lines(tmp_path / "ended") == ["one", "three", "two", "one"]


async def test_a_crash_is_noticed_with_its_last_words(processes: Processes) -> None:
    await processes.start("etcd", ["/bin/sh", "-c", "echo disk full; exit 7"], ENV)
    with pytest.raises(SandboxError, match=r"etcd ended with code 7; its last lines:\n\s+disk full"):
        await processes.watch()
    assert not processes.running("etcd")


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_an_asked_for_end_is_no_crash(processes: Processes, tmp_path: Path, end: str) -> None:
    await _start(processes, tmp_path, "one")
    pid = processes.pid("one")
    await getattr(processes, end)("one")
    assert not _alive(pid)
    processes.check()


async def test_what_cannot_start_is_told(processes: Processes, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"cannot start etcd: .*No such file"):
        await processes.start("etcd", [str(tmp_path / "missing")], ENV)


async def test_nothing_starts_twice(processes: Processes, tmp_path: Path) -> None:
    await _start(processes, tmp_path, "one")
    with pytest.raises(SandboxError, match="one is running already"):
        await processes.start("one", ["true"], ENV)


async def test_a_cancelled_start_is_stopped_too(tmp_path: Path) -> None:
    processes = await Processes.open(tmp_path)
    start = asyncio.create_task(processes.start("one", _argv(LOYAL, "one", tmp_path), ENV))
    await asyncio.sleep(0)  # it has asked, and waits for the answer
    start.cancel()
    await eventually((tmp_path / "started").exists, interval=0.01)
    await processes.close()
    assert start.cancelled()
    assert _lines(tmp_path / "ended") == ["one"]


@pytest.mark.parametrize(("script", "code"), [(STUBBORN, -signal.SIGTERM), (DEAF, -signal.SIGKILL)])
async def test_insists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: int) -> None:
    monkeypatch.setattr(supervisor, "_PATIENCE", [(number, 0.2) for number, _ in supervisor._PATIENCE])
    it = supervisor.Supervisor()
    await it._start("one", _argv(script, "one", tmp_path), ENV, str(tmp_path / "log"))
    await eventually(lambda: _lines(tmp_path / "started"), interval=0.01)
    await it._stop("one")
    await it._watchers["one"]
    assert it._running["one"].returncode == code


async def test_a_killed_supervisor_leaves_nothing_either(tmp_path: Path) -> None:
    processes = await Processes.open(tmp_path)
    await _start(processes, tmp_path, "one")
    pid = processes.pid("one")
    processes._supervisor.kill()
    with pytest.raises(SandboxError, match="supervises the cluster has gone"):
        await processes.watch()
    await processes.close()
    await eventually(lambda: not _alive(pid))


_CLIENT = """
import asyncio, sys
from pathlib import Path
from sandbox.processes import Processes
async def main():
    processes = await Processes.open(Path("logs"), remove=Path("logs"))
    await processes.start("one", ["/bin/sh", "-c", sys.argv[1]], {"PATH": "/bin:/usr/bin"})
    print(processes.pid("one"), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whatever_ends_the_client_ends_its_programs(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "logs").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _CLIENT, "exec sleep 60"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as client:
        assert client.stdout is not None
        pid = int(client.stdout.readline())
        assert _alive(pid)
        os.killpg(client.pid, number)  # as a terminal does: to the whole foreground group
        client.wait(timeout=10)
    assert poll(lambda: not _alive(pid), timeout=10)
    assert poll(lambda: not (tmp_path / "logs").exists(), timeout=10)


@pytest.mark.parametrize("last", ['{"do": "sta', '{"do": "nonsense"}\n'], ids=["half a request", "a wrong request"])
def test_nonsense_ends_everything_too(tmp_path: Path, last: str) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    start = {"do": "start", "name": "one", "argv": ["sleep", "60"], "env": ENV, "log": str(logs / "one.log")}
    command = [sys.executable, supervisor.__file__, "--remove", str(logs)]
    run = subprocess.run(
        command, input=json.dumps(start) + "\n" + last, capture_output=True, text=True, check=False, timeout=30
    )
    assert not _alive(json.loads(run.stdout.splitlines()[0])["pid"])
    assert not logs.exists()


async def test_requests_after_the_end_are_refused(tmp_path: Path) -> None:
    processes = await Processes.open(tmp_path)
    await processes.close()
    with pytest.raises(SandboxError, match="the cluster is stopped"):
        await processes.start("one", ["true"], ENV)
