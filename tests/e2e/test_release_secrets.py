"""What a release holds that is secret is seen by nobody; and what is in order costs nothing."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from e2e.helm_door import HelmDoor, no_scheduling
from e2e.release_stage import AT_ONCE, PATIENCE, Case, case
from harness import EVENTS, NODE_POOLS, PROFILES, Kind, Operator, Timeline
from harness.releases import HELM_ACCOUNT, SERVER, release_options
from sandbox import Cluster, eventually

LICENCE: Final = "MARKER-SECRET-licence"
PASSWORD: Final = "MARKER-SECRET-password"  # noqa: S105 - it marks one
API_KEY: Final = "MARKER-SECRET-api-key"
MARKER: Final = b"MARKER-SECRET-"
VALUES: Final[dict[str, Any]] = {
    "license": {"key": LICENCE},
    "config": {"Postgres": {"URL": "postgres://db", "Password": PASSWORD}},
    "pod": {"env": [{"name": "API_KEY", "value": API_KEY}]},
}
QUIET: Final = 20.0
"""Seconds that a converged release is watched."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's $TMPDIR."""
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
async def operator(release_cluster: Cluster, door: HelmDoor, own: Path) -> AsyncIterator[Operator]:
    options = release_options(release_cluster, door.path)
    async with Operator(release_cluster, *options, "--verbose", env={"TMPDIR": str(own)}) as running:
        yield running


async def test_no_secret_is_seen_anywhere(operator: Operator, door: HelmDoor, own: Path) -> None:
    """Through take-over, failure, drift, a conflict, a chart that refuses, and the way back."""
    seen: set[str] = set()
    policy: dict[str, Any] = {"deletionPolicy": {"release": "Restore"}, "driftPolicy": {"release": "Correct"}}
    watching = asyncio.create_task(_watch_processes(seen))
    async with case(operator, VALUES, **AT_ONCE, **policy) as it, Timeline(operator.cluster, PROFILES) as profiles:
        await it.settled()
        assert it.release.config["config"]["Postgres"]["Password"] == PASSWORD

        with no_scheduling(operator.cluster):  # failure
            it.profile.patch({"release": {"timeout": "5s"}})
            it.protect_content("1h")
            await it.profile.condition_is("ReleaseConfigured", "False", "RolledBack", seconds=PATIENCE)
        it.profile.patch({"release": {"timeout": "90s"}})
        await it.settled()

        await it.release.helm("upgrade", "--reset-values", values=it.release.values)  # drift
        await eventually(lambda: it.carries("1h"), timeout=PATIENCE)
        await it.settled()
        edited = {"data": {"rstudio-connect.gcfg": f"[Postgres]\nPassword = {PASSWORD}\n"}}
        it.release.api.merge(it.release.kind("configmaps"), f"{SERVER}-config", edited)
        await it.drifts(it.config_map, "/data")
        await it.profile.condition_is("ReleaseConfigured", "False", "Conflict", seconds=PATIENCE)
        it.profile.patch({"release": {"onConflict": "Force"}})
        await it.settled()

        it.profile.delete()
        await it.profile.gone(seconds=PATIENCE)
        assert it.release.config["config"]["Postgres"]["Password"] == PASSWORD
        assert "nodeSelector" not in it.release.config

        told = json.dumps([event.object for event in profiles.events]).encode()
        told += json.dumps(it.profile.api.list(EVENTS)).encode()
        told += json.dumps(it.profile.api.list(Kind(EVENTS.version, "events", it.release.namespace))).encode()
    watching.cancel()
    assert MARKER not in told
    assert any("helm\x00upgrade" in each or "upgrade" in each for each in seen), "no process was seen"
    assert not [each for each in seen if MARKER.decode() in each]
    assert MARKER not in operator.log_file.read_bytes()
    assert MARKER not in door.environment.read_bytes()
    assert _files(own), "the operator's temporary directory is elsewhere"
    files = [*_files(own), *_files(operator.cluster.dir / "logs")]
    assert not [file for file in files if MARKER in file.read_bytes()]


async def test_what_is_in_order_costs_nothing(operator: Operator, door: HelmDoor) -> None:
    async with case(operator, **AT_ONCE) as it:
        await it.settled()
        await it.in_order()
        passes = it.profile.read()["metadata"]["resourceVersion"]
        calls, since = len(door.calls()), operator.cluster.audit.marker()
        await _unrest(it, QUIET)
        assert _writes(operator, it, since) == []
        assert len(door.calls()) == calls

        since = operator.cluster.audit.marker()
        await operator.restart()
        await _unrest(it, 5)
        assert _writes(operator, it, since) == []
        assert len(door.calls()) == calls
        assert it.profile.read()["metadata"]["resourceVersion"] == passes


async def _unrest(it: Case, seconds: float) -> None:
    """Have pods come and go, and NodePools change their status, all of which is nobody's business."""
    end = asyncio.get_running_loop().time() + seconds
    turn, pods = 0, it.release.kind("pods")
    while asyncio.get_running_loop().time() < end:
        turn += 1
        pod = {"nodeName": it.node, "containers": [{"name": "main", "image": "none"}]}
        it.release.api.create(pods, {"kind": "Pod", "metadata": {"name": f"turn-{turn}"}, "spec": pod})
        status = {"status": {"resources": {"cpu": str(turn)}}}
        it.profile.api.merge(NODE_POOLS, it.profile.server, status, subresource="status", manager="karpenter")
        if turn > 1:
            it.release.api.delete(pods, f"turn-{turn - 1}")
        await asyncio.sleep(0.5)


def _writes(operator: Operator, it: Case, since: int) -> list[tuple[str, str, str]]:
    helm = f"system:serviceaccount:{it.release.namespace}:{HELM_ACCOUNT}"
    found = operator.cluster.audit.writes(since=since)
    return [(w.verb, w.resource, w.name) for w in found if w.user in {operator.user, helm}]


async def _watch_processes(seen: set[str]) -> None:
    """Keep the arguments and variables of every helm there is."""
    while True:
        for directory in _processes():
            with contextlib.suppress(OSError):
                line = (directory / "cmdline").read_text(errors="replace")
                if "helm" in line and line not in seen:
                    seen |= {line, (directory / "environ").read_text(errors="replace")}
        await asyncio.sleep(0.01)


def _files(directory: Path) -> list[Path]:
    return [each for each in directory.rglob("*") if each.is_file()]


def _processes() -> Iterator[Path]:
    return (each for each in Path("/proc").iterdir() if each.name.isdecimal())
