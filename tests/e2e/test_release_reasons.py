"""Why a release is not configured: each reason is reached on a real release, and left when its cause is gone."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from e2e.helm_door import HelmDoor, no_scheduling
from e2e.release_stage import PATIENCE, Case, case
from harness import Json, Operator, Workspace
from harness.releases import HELM_ACCOUNT, chart
from sandbox import Cluster, SandboxError, eventually

ASKING: dict[str, Any] = {"disruptions": {"when": "OnApproval"}}
"""With this nothing is written, and every refusal is reached all the same."""


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart, the chart with a line more, and the chart with a file less."""
    root = tmp_path_factory.mktemp("charts")
    for name in (chart().name, "longer", "shorter"):
        shutil.copytree(chart(), root / name)
    with (root / "longer" / "templates" / "deployment.yaml").open("a") as file:
        file.write("  minReadySeconds: 1\n")
    (root / "shorter" / "templates" / "around.yaml").unlink()
    return root


@pytest.fixture(scope="module")
async def operator(release_cluster: Cluster, door: HelmDoor, charts: Path) -> AsyncIterator[Operator]:
    options = ("--helm", str(door.path), "--require-service-account", "--verbose", "--chart-dir", str(charts))
    async with Operator(release_cluster, *options) as running:
        yield running


@pytest.fixture(scope="module")
async def asking(operator: Operator) -> AsyncIterator[Case]:
    async with case(operator, **ASKING) as it:
        await _plans(it)
        yield it


@pytest.mark.parametrize(
    ("release", "reason"),
    [
        ({"chart": {"path": "longer"}}, "ChartMismatch"),
        ({"chart": {"path": "shorter"}}, "ChartMismatch"),
        ({"chart": {"path": "nothing"}}, "ChartUnavailable"),
        ({"chart": {"path": None, "repository": "https://charts.example.com"}}, "ChartNotAllowed"),
        ({"serviceAccountName": None}, "ServiceAccountRequired"),
        ({"serviceAccountName": "another"}, "Forbidden"),
    ],
)
async def test_what_the_profile_names_wrongly(asking: Case, release: dict[str, Any], reason: str) -> None:
    asking.profile.patch({"release": release})
    await _is_refused(asking, reason, stalled=reason not in {"ChartUnavailable", "Forbidden"})
    right = {"chart": {"path": chart().name, "repository": None}, "serviceAccountName": HELM_ACCOUNT}
    asking.profile.patch({"release": right})
    await _plans(asking)
    assert asking.statuses() == ["deployed"]


async def test_helm_is_missing(door: HelmDoor, asking: Case) -> None:
    away = door.path.with_name("away")
    door.path.rename(away)
    try:
        asking.protect_content("2h")
        await _is_refused(asking, "HelmNotFound")
    finally:
        away.rename(door.path)
    asking.profile.annotate(requestedAt="found")
    await _plans(asking)


async def test_two_profiles_want_one_release(operator: Operator, asking: Case) -> None:
    async with Workspace(operator.cluster) as workspace:
        second = workspace.profile(release=asking.release.reference, **ASKING)
        await second.condition_is("ReleaseConfigured", "False", "ReleaseClaimedTwice")
        await second.condition_is("Stalled", "True", "ReleaseClaimedTwice")
        await _plans(asking)


async def test_the_launcher_is_left_by_hand_first(asking: Case) -> None:
    values = {**asking.release.config, "launcher": {"enabled": True}, "backends": {"kubernetes": {"enabled": False}}}
    await asking.release.helm("upgrade", "--reset-values", values=values)
    await _is_refused(asking, "LauncherEnabled")
    await asking.release.helm("rollback", "1")
    await _plans(asking)


async def test_a_release_that_comes_later(operator: Operator, asking: Case) -> None:
    values = asking.release.config
    await asking.release.helm("uninstall", "--no-hooks")
    await _is_refused(asking, "ReleaseNotFound", stalled=False)
    with no_scheduling(operator.cluster), pytest.raises(SandboxError):
        await asking.release.helm("install", "--wait=watcher", "--timeout=2s", values=values)
    await _is_refused(asking, "ReleaseNotDeployed", stalled=False)
    await asking.release.helm("upgrade", "--reset-values", values=values)
    await _plans(asking)


async def test_a_namespace_that_is_not_served(operator: Operator, asking: Case) -> None:
    await operator.stop()
    try:
        async with Operator(operator.cluster, "--release-namespaces", "elsewhere"):
            asking.profile.annotate(requestedAt="elsewhere")
            await _is_refused(asking, "NamespaceNotServed")
    finally:
        await operator.start()
    await _plans(asking)


async def _is_refused(it: Case, reason: str, *, stalled: bool = True) -> Json:
    body = await it.profile.condition_is("ReleaseConfigured", "False", reason, seconds=PATIENCE)
    assert (it.profile.condition("Stalled") is not None) == stalled
    found = next(each for each in body["status"]["conditions"] if each["type"] == "ReleaseConfigured")
    assert found["message"]
    ready = it.profile.condition("Ready")
    assert ready is not None
    assert ready["status"] == "False"
    return dict(found)


async def _plans(it: Case) -> None:
    """Wait until nothing but approval is missing."""

    def check() -> bool:
        planned = it.planned()
        assert planned is not None, it.profile.condition("ReleaseConfigured")
        assert (planned["action"], planned["reason"]) == ("Upgrade", "AwaitingApproval"), planned
        generation = it.profile.read()["metadata"]["generation"]
        return bool(it.profile.status["observedGeneration"] == generation)

    await eventually(check, timeout=PATIENCE)
