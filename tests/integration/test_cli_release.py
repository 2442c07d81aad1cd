"""The command line beside an operator that looks after a Helm release: from the first check to the end."""

import asyncio
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness import DEPLOY, Json, Operator, Profile, Release, Workspace, kustomize
from harness.releases import release_options
from integration.cli_calls import Cli
from sandbox import Cluster, cluster, eventually

OVERLAY = {"/nodeSelector/workload", "/pod/annotations/karpenter.sh~1do-not-disrupt"}


@pytest.fixture(scope="module")
async def whole() -> AsyncIterator[Cluster]:
    """Everything, and an operator for releases; its Deployment is applied, though the sandbox runs no containers."""
    async with cluster(karpenter_env={"BATCH_IDLE_DURATION": "200ms", "BATCH_MAX_DURATION": "1s"}) as running:
        running.apply(*kustomize(running, DEPLOY))
        async with Operator(running, *release_options(running)):
            yield running


@pytest.fixture(scope="module")
async def release(whole: Cluster) -> AsyncIterator[Release]:
    async with Release(whole) as installed:
        yield installed


@pytest.fixture(scope="module")
async def profile(whole: Cluster, release: Release) -> AsyncIterator[Profile]:
    """A profile whose first overlay waits for approval."""
    async with Workspace(whole) as workspace:
        made = workspace.profile(
            release=release.reference,
            disruptions={"when": "OnApproval"},
            deletionPolicy={"release": "Restore"},
        )
        await eventually(lambda: made.status.get("planDigest"), timeout=120)
        yield made


@pytest.fixture(scope="module")
def cli(whole: Cluster) -> Cli:
    return Cli(whole)


async def test_1_check_looks_at_chart_storage_owner_and_rights(cli: Cli, profile: Profile, release: Release) -> None:
    done = await cli("check", "-o", "json")
    found = {each["name"]: each for each in done.json}
    for name in ("Release", "Owner", "Chart", "Storage", f"Profile {profile.name}", f"Rights for {profile.name}"):
        assert found[name]["result"] == "Passed", found[name]
    assert "rstudio-connect" in found["Chart"]["message"]
    assert f"Helm writes Release/{release.namespace}/connect" in found["Owner"]["message"]
    assert found["Operator"]["result"] == "Failed", "its Deployment has no pods here"
    assert "0 of 1 available" in found["Operator"]["message"]
    assert done.code == 1


async def test_1_check_looks_at_whom_the_operator_may_impersonate(
    cli: Cli, profile: Profile, release: Release, tmp_path: Path
) -> None:
    async def right(**settings: str) -> Json:
        body = profile.read()
        body["spec"]["release"].update(settings)
        file = tmp_path / "profile.json"
        file.write_text(json.dumps(body))
        done = await cli("check", "-f", file, "-o", "json")
        (found,) = (each for each in done.json if each["name"] == f"Rights for {profile.name}")
        assert done.code == 1, "the Operator has no pods here"
        return dict(found)

    missing = await right(serviceAccountName="another")
    assert missing["result"] == "Failed"
    what = f"may not impersonate serviceaccounts another in namespace {release.namespace}; "
    assert what in missing["message"]
    assert "operator.yaml names the ServiceAccounts" in missing["message"]
    written_by_others = await right(serviceAccountName="another", manager="Export")
    assert written_by_others["result"] == "Passed", "helm is never run"


async def test_2_plan_is_the_operators_own(cli: Cli, profile: Profile, release: Release) -> None:
    planned = await cli("plan", "-o", "json")
    assert planned.code == 1, planned.err
    assert planned.json["planDigest"] == profile.status["planDigest"]
    (row,) = planned.json["actions"]
    (known,) = profile.status["plan"]
    assert {key: row[key] for key in known} == known
    assert set(row["fields"]) >= OVERLAY
    drawn = (await cli("plan")).out
    assert drawn.startswith(f"{profile.name}: 1 RestartsServer\nRestartsServer  Upgrade Release/{release.namespace}/")
    assert "MARKER-SECRET" not in drawn


async def test_3_plan_knows_how_the_operator_was_told_to_behave(cli: Cli, profile: Profile, tmp_path: Path) -> None:
    body = profile.read()
    del body["spec"]["release"]["serviceAccountName"]
    (tmp_path / "bare.json").write_text(json.dumps(body))
    refused = await cli("plan", "-f", tmp_path / "bare.json")
    assert refused.code == 2
    assert "ServiceAccountRequired" in refused.err


async def test_4_approve_carries_it_out(cli: Cli, profile: Profile, release: Release) -> None:
    done = await cli("approve", "--yes", "--wait", "--timeout", "120")
    assert done.code == 0, done.err
    assert "Upgrading since" in done.err, "it shows progress"
    assert release.config["nodeSelector"] == {"workload": f"{profile.name}-server"}
    calm = await cli("plan")
    assert (calm.code, calm.err) == (0, "")


async def test_5_status_leads_from_the_profile_to_pods(cli: Cli, profile: Profile, release: Release) -> None:
    await profile.ready(seconds=60)
    document = (await cli("status", "-o", "json")).json
    (claim,) = document["nodePools"][0]["nodeClaims"]
    node, (deployment,) = claim["node"], document["release"]["deployments"]
    assert float(node["pricePerHour"]) > 0
    assert node["capacity"] == "on-demand"
    (server,) = release.servers()
    assert server["metadata"]["name"] in [each["name"] for each in node["pods"]]
    assert [each["name"] for each in deployment["pods"]] == [server["metadata"]["name"]]
    assert (deployment["available"], deployment["replicas"], document["release"]["revision"]) == (1, 1, 2)
    drawn = (await cli("status")).out
    for word in (node["name"], node["type"], "USD/h", deployment["name"], "1/1 available", "revision 2"):
        assert word in drawn


async def test_6_kubectl_finds_the_plugin(whole: Cluster, profile: Profile) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    command = [str(whole.binary("kubectl")), "connect-autoscaler", "drift"]
    env = {**os.environ, **whole.environment, "PATH": path}
    ran = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, f"{profile.name}: nothing has drifted.\n"), ran.stderr


async def test_7_bundle_tells_revisions_and_no_values(
    cli: Cli, profile: Profile, release: Release, tmp_path: Path
) -> None:
    assert profile.status["release"]["revision"] == 2
    done = await cli("support-bundle", "--file", tmp_path / "bundle.tar.gz")
    assert done.code == 0, done.err
    with tarfile.open(tmp_path / "bundle.tar.gz") as archive:
        texts = {each.name: stream.read().decode() for each in archive if (stream := archive.extractfile(each))}
    revisions = texts[f"bundle/releases/{release.namespace}/revisions.json"]
    assert "sh.helm.release.v1.connect.v2" in revisions
    assert [name for name, text in texts.items() if "MARKER-SECRET" in text] == []


async def test_8_uninstall_gives_the_release_back(cli: Cli, profile: Profile, release: Release) -> None:
    shown = await cli("uninstall", "--dry-run")
    assert f"RestartsServer  Restore Release/{release.namespace}/connect\n" in shown.out
    profile.patch({"disruptions": {"when": "Immediately"}})
    await profile.ready()
    done = await cli("uninstall", "--yes", "--timeout", "120")
    assert done.code == 0, done.err
    assert f"{profile.name}: gone" in done.out
    assert "nodeSelector" not in release.config
    calm = await cli("uninstall", "--yes")
    assert (calm.code, "nothing to let go of" in calm.out) == (0, True)
