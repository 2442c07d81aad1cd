"""Whatever dies while a release is upgraded: the end is the same, and no server restarts more than once for it."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, Literal

import pytest

from e2e.helm_door import HelmDoor, no_scheduling
from e2e.release_stage import AT_ONCE, PATIENCE, Case, Restarts, case
from harness import Operator, Timeline
from harness.releases import chart, release_options
from sandbox import Cluster, eventually

_HOURS = count(1)
Death = Literal["killed", "stopped"]


@pytest.fixture(scope="module")
async def operator(release_cluster: Cluster, door: HelmDoor) -> AsyncIterator[Operator]:
    options = release_options(release_cluster, door.path)
    async with Operator(release_cluster, *options, "--helm-grace", "4", "--verbose") as running:
        yield running


@pytest.fixture(scope="module")
async def taken(operator: Operator) -> AsyncIterator[Case]:
    """A release that carries the overlay, for one change of the profile after the other."""
    async with case(operator, **AT_ONCE) as it:
        await it.settled()
        assert it.statuses() == ["superseded", "deployed"]
        assert it.release.templates() == 2
        yield it


@pytest.fixture(autouse=True)
async def as_found(operator: Operator) -> AsyncIterator[None]:
    """A test that fails half-way leaves the operator running for the next one."""
    yield
    if not operator.running:
        await operator.start()


Step = Callable[[HelmDoor, Case, str], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def while_preparing(door: HelmDoor, it: Case, hours: str) -> AsyncIterator[None]:
    before = it.number
    async with door.hold("before-render", it.release) as held:
        it.protect_content(hours)
        await held.reached()
        assert it.number == before
        yield


@asynccontextmanager
async def recorded(door: HelmDoor, it: Case, hours: str) -> AsyncIterator[None]:
    """The upgrade is remembered, but helm has not begun."""
    before = it.number
    async with door.hold("before-upgrade", it.release) as held:
        it.protect_content(hours)
        await held.reached()
        assert _record(it)["finished"] is False
        assert it.number == before
        yield


@asynccontextmanager
async def rolling_out(door: HelmDoor, it: Case, hours: str) -> AsyncIterator[None]:
    """Helm waits for servers that find no node."""
    del door
    before = it.number
    with no_scheduling(it.release.cluster):
        it.protect_content(hours)
        await _pending(it, before)
        yield


@asynccontextmanager
async def committed(door: HelmDoor, it: Case, hours: str) -> AsyncIterator[None]:
    """Helm is done, but the operator does not know."""
    before = it.number
    async with door.hold("after-upgrade", it.release) as held:
        it.protect_content(hours)
        await held.reached()
        assert it.statuses(since=before) == ["deployed"]
        assert _record(it)["finished"] is False
        yield


ROLLED_BACK = ["failed", "superseded", "deployed"]
"""Helm was asked to end: it went back, and the upgrade was made again."""
RESUMED = ["pending-upgrade", "deployed"]
"""Helm was killed: its upgrade was brought to its end."""


@pytest.mark.parametrize(
    ("step", "death", "revisions"),
    [
        pytest.param(while_preparing, "killed", ["deployed"], marks=pytest.mark.long),
        (while_preparing, "stopped", ["deployed"]),
        (recorded, "killed", ["deployed"]),
        pytest.param(recorded, "stopped", ["deployed"], marks=pytest.mark.long),
        (rolling_out, "killed", RESUMED),
        (rolling_out, "stopped", ROLLED_BACK),
        pytest.param(committed, "killed", ["deployed"], marks=pytest.mark.long),
        (committed, "stopped", ["deployed"]),
    ],
)
async def test_the_operator_ends_at_any_step(
    operator: Operator, door: HelmDoor, taken: Case, death: Death, step: Step, revisions: list[str]
) -> None:
    before, templates, hours = taken.number, taken.release.templates(), _hours()
    async with Restarts(taken.release) as restarts:
        async with step(door, taken, hours):
            await _end(operator, death)
            await _no_helm_left(door, taken)  # servers that came up on the way back would cost another restart
        await operator.start()
        await taken.settled()
        assert taken.carries(hours)
        assert taken.statuses(since=before) == revisions
        assert taken.release.templates() == templates + 1
        await _restarted(taken, restarts)


async def test_an_upgrade_that_ends_within_the_grace_is_not_rolled_back(
    operator: Operator, door: HelmDoor, taken: Case
) -> None:
    before, hours = taken.number, _hours()
    async with rolling_out(door, taken, hours):
        ending = asyncio.create_task(operator.stop())
        await asyncio.sleep(0)
    await ending
    assert taken.statuses(since=before) == ["deployed"]
    assert _record(taken)["finished"] is True
    await operator.start()
    await taken.settled()
    assert taken.statuses(since=before) == ["deployed"]


async def test_helm_is_killed_and_its_lock_undone(door: HelmDoor, taken: Case) -> None:
    before, templates, hours = taken.number, taken.release.templates(), _hours()
    async with Restarts(taken.release) as restarts:
        async with rolling_out(door, taken, hours):
            os.kill(_upgrading(door, taken), signal.SIGKILL)
            resumed = ["pending-upgrade", "pending-rollback"]  # to the very revision that was begun
            await eventually(lambda: taken.statuses(since=before) == resumed, timeout=PATIENCE)
        await taken.settled()
        assert taken.statuses(since=before) == RESUMED
        assert taken.carries(hours)
        assert taken.release.templates() == templates + 1
        await _restarted(taken, restarts)


@pytest.mark.parametrize("rolled_out", [pytest.param(False, marks=pytest.mark.long), True])
async def test_helm_and_the_operator_are_killed(
    operator: Operator, door: HelmDoor, taken: Case, *, rolled_out: bool
) -> None:
    before, templates, hours = taken.number, taken.release.templates(), _hours()
    async with Restarts(taken.release) as restarts:
        async with rolling_out(door, taken, hours):
            # Stopped first: nobody is to see the other one's end.
            os.kill(operator.pid, signal.SIGSTOP)
            helm = _upgrading(door, taken)
            os.kill(helm, signal.SIGSTOP)
        if rolled_out:
            await taken.release.rolled_out()
        os.kill(helm, signal.SIGKILL)
        await operator.kill()
        assert taken.statuses(since=before) == ["pending-upgrade"]
        await operator.start()
        await taken.settled()
        assert taken.carries(hours)
        assert taken.statuses(since=before) == RESUMED
        assert taken.release.templates() == templates + 1
        await _restarted(taken, restarts)


@pytest.mark.long
async def test_servers_come_up_while_the_operator_is_killed(operator: Operator, door: HelmDoor, taken: Case) -> None:
    """Nodes come just then: were helm to roll back, that would restart servers that run by now, and later once more."""
    before, hours = taken.number, _hours()
    async with Restarts(taken.release) as restarts:
        async with rolling_out(door, taken, hours):
            await operator.kill()
        await operator.start()
        await taken.settled()
        assert taken.carries(hours)
        assert taken.statuses(since=before) == RESUMED
        await _restarted(taken, restarts)


async def test_a_resumed_upgrade_that_fails_is_rolled_back(operator: Operator, taken: Case) -> None:
    before, hours = taken.number, _hours()
    async with Restarts(taken.release) as restarts:
        with no_scheduling(operator.cluster):
            taken.profile.patch({"release": {"timeout": "6s"}, "content": {"renderedDoNotDisrupt": hours}})
            await _pending(taken, before)
            await operator.kill()
            await operator.start()
            await taken.profile.condition_is("ReleaseConfigured", "False", "RolledBack", seconds=PATIENCE)
        assert taken.statuses(since=before) == ["pending-upgrade", "failed", "deployed"]
        assert not taken.carries(hours)
        assert restarts.count == 0
    taken.profile.patch({"release": {"timeout": "90s"}})
    await taken.settled()


async def test_an_upgrade_that_nobody_wants_any_more_is_not_resumed(operator: Operator, taken: Case) -> None:
    before, unwanted, hours = taken.number, _hours(), _hours()
    async with Restarts(taken.release) as restarts:
        with no_scheduling(operator.cluster):
            taken.protect_content(unwanted)
            await _pending(taken, before)
            await operator.kill()
            taken.protect_content(hours)
            await operator.start()
            undone = ["pending-upgrade", "deployed", "pending-upgrade"]
            await eventually(lambda: taken.statuses(since=before) == undone, timeout=PATIENCE)
        await taken.settled()
        assert taken.carries(hours)
        await _restarted(taken, restarts)


@pytest.mark.long
async def test_the_way_back_dies_too(operator: Operator, door: HelmDoor, taken: Case) -> None:
    """Killed while the lock of an upgrade that was killed is undone: that leaves a lock of another kind."""
    before, hours = taken.number, _hours()
    async with Restarts(taken.release) as restarts:
        with no_scheduling(operator.cluster):
            taken.protect_content(hours)
            await _pending(taken, before)
            await _both_die(operator, _calls(door, taken, "upgrade"))
            async with door.hold("before-rollback", taken.release) as held:
                await operator.start()
                await held.reached()
                rollback = _calls(door, taken, "rollback")
                async with Timeline(operator.cluster, taken.release.kind("secrets")) as secrets:
                    held.let_go()
                    await secrets.until(lambda event: _is_revision(event.object, before + 2, "pending-rollback"))
                    await _both_die(operator, rollback)
        left = taken.statuses(since=before)
        print("left behind:", left)
        await operator.start()
        await taken.settled()
        assert taken.carries(hours)
        await _restarted(taken, restarts)


async def test_the_lock_of_a_stranger_is_left_alone(operator: Operator, taken: Case) -> None:
    before, values = taken.number, {**taken.release.config, "replicas": 2}
    with no_scheduling(operator.cluster):
        async with _users_upgrade(taken, values) as user:
            await _pending(taken, before)
            user.kill()
        await taken.profile.condition_is("ReleaseConfigured", "False", "PendingRelease")
        message = (taken.profile.condition("ReleaseConfigured") or {})["message"]
        assert f"Revision {before + 1}" in message
        assert f"helm rollback -n {taken.release.namespace} connect" in message
    taken.protect_content(_hours())  # even now that there is something to do
    await taken.profile.condition_is("ReleaseConfigured", "False", "PendingRelease")
    await operator.restart()
    await taken.profile.condition_is("ReleaseConfigured", "False", "PendingRelease")
    assert taken.statuses(since=before) == ["pending-upgrade"]
    await taken.release.helm("rollback", str(before), "--wait=watcher")
    await taken.settled()
    assert taken.statuses(since=before) == ["pending-upgrade", "superseded", "deployed"]


@pytest.mark.long
async def test_what_was_there_before_comes_back_even_so(operator: Operator, door: HelmDoor) -> None:
    """Killed during the take-over itself, with the user's own values beside and below the overlay's."""
    values = {"tolerations": [{"key": "mine", "operator": "Exists"}], "pod": {"annotations": {"mine": "yes"}}}
    policy: dict[str, Any] = {"deletionPolicy": {"release": "Restore"}}
    async with case(operator, values, **AT_ONCE, **policy) as it:
        original = it.release.config
        with no_scheduling(operator.cluster):
            await _pending(it, 1)
            os.kill(operator.pid, signal.SIGSTOP)
            os.kill(_upgrading(door, it), signal.SIGKILL)
            await operator.kill()
            await operator.start()
            await eventually(lambda: it.number > 2, timeout=PATIENCE)
        await it.settled()
        assert len(it.release.config["tolerations"]) == len(original["tolerations"]) + 1
        it.profile.delete()
        await it.profile.gone(seconds=PATIENCE)
        assert it.release.config == original
        assert it.state() is None


def _hours() -> str:
    return f"{next(_HOURS)}h"


def _record(it: Case) -> dict[str, Any]:
    state = it.state()
    assert state is not None
    assert state.record is not None
    return {"finished": state.record.finished, "reason": state.record.reason}


def _upgrading(door: HelmDoor, it: Case) -> int:
    return _calls(door, it, "upgrade")


def _calls(door: HelmDoor, it: Case, kind: str) -> int:
    """Return the process id of the last call of a kind."""
    return [call.pid for call in door.calls(it.release) if call.kind == kind][-1]


def _is_revision(secret: dict[str, Any], number: int, status: str) -> bool:
    labels = secret["metadata"].get("labels", {})
    return (labels.get("version"), labels.get("status")) == (str(number), status)


async def _both_die(operator: Operator, helm: int) -> None:
    """End helm and the operator as the loss of their node would: neither sees the other's end."""
    os.kill(operator.pid, signal.SIGSTOP)
    with contextlib.suppress(ProcessLookupError):
        os.kill(helm, signal.SIGKILL)
    await operator.kill()


async def _pending(it: Case, base: int) -> None:
    """Wait until the revision after one is under way, and its servers are there, but nowhere."""

    def check() -> bool:
        assert it.statuses(since=base) == ["pending-upgrade"]
        return any(not server["spec"].get("nodeName") for server in it.release.servers())

    await eventually(check, timeout=PATIENCE, interval=0.05)


async def _restarted(it: Case, restarts: Restarts) -> None:
    """Wait for the rollout, and see that what happened on the way to it cost no restart more."""
    await it.release.rolled_out()
    await eventually(lambda: restarts.count > 0)
    print("restarts:", restarts.count)
    assert restarts.count == 1


async def _end(operator: Operator, death: Death) -> None:
    await (operator.kill() if death == "killed" else operator.stop())


async def _no_helm_left(door: HelmDoor, it: Case) -> None:
    """Wait until no helm of the dead operator is at work; the kernel has told each to end."""
    await eventually(lambda: not [call for call in door.calls(it.release) if call.running])


@asynccontextmanager
async def _users_upgrade(it: Case, values: dict[str, Any]) -> AsyncIterator[asyncio.subprocess.Process]:
    cluster = it.release.cluster
    command = [str(cluster.binary("helm")), "upgrade", "connect", str(chart()), "--namespace", it.release.namespace]
    process = await asyncio.create_subprocess_exec(
        *[*command, "--reset-values", "--values", "-", "--wait=watcher"],
        env=cluster.environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(values).encode())
        process.stdin.close()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
