"""Metrics of two replicas at work, as Prometheus would see them; and what Argo CD and kstatus make of real profiles."""

import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Final

import pytest

from harness import DEPLOY, NODE_POOLS, FakeKarpenterStatus, Operator, Workspace, kustomize
from harness.argocd import health
from harness.metrics import Scrape
from integration.kstatus import kstatus
from integration.replicas import replica
from sandbox import Cluster, Parts, cluster, eventually

HEALED: Final = {"target_kind": "NodePool", "result": "success"}


@pytest.fixture(scope="module")
async def own_cluster() -> AsyncIterator[Cluster]:
    async with cluster(parts=Parts.API) as running, FakeKarpenterStatus(running):
        yield running


@pytest.fixture(scope="module")
async def pair(own_cluster: Cluster) -> AsyncIterator[tuple[Operator, Operator]]:
    """The replica that works, and the one that stands by."""
    async with replica(own_cluster, 1) as first, replica(own_cluster, 2) as second:
        yield first.operator, second.operator


@pytest.fixture
async def own(own_cluster: Cluster) -> AsyncIterator[Workspace]:
    async with Workspace(own_cluster) as opened:
        yield opened


async def test_a_heal_is_counted_once_with_its_time_and_its_requests(
    pair: tuple[Operator, Operator], own: Workspace
) -> None:
    profile = own.profile(contentPool={"weight": 5})
    await profile.ready()
    before = Scrape.of(pair[0])
    own.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 6}})

    def healed() -> bool:
        return Scrape.of(pair[0]).sum("heal_total", **HEALED) == (before.sum("heal_total", **HEALED) or 0) + 1

    await eventually(healed)
    after = Scrape.of(pair[0])  # afresh: a scrape may have been under way when it was healed
    assert profile.pool(profile.content)["spec"]["weight"] == 5

    def grown(name: str, **labels: str) -> float:
        return (after.sum(name, **labels) or 0) - (before.sum(name, **labels) or 0)

    assert grown("drift_detected_total", target_kind="NodePool") == 1
    assert grown("heal_duration_seconds_count", target_kind="NodePool") == 1
    assert 0 < grown("heal_duration_seconds_sum", target_kind="NodePool") < 10
    assert grown("api_requests_total", verb="patch", resource="nodepools", code="200") == 1
    assert grown("reconcile_total", result="success") >= 1
    assert grown("reconcile_total", result="fault") == 0


async def test_figures_are_those_of_status_and_vanish_with_the_profile(
    pair: tuple[Operator, Operator], own: Workspace
) -> None:
    profile = own.profile(contentPool={"weight": 5})
    await profile.ready()
    profile.patch({"suspend": True})
    await profile.condition_is("Suspended")
    own.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 6}})
    await profile.condition_is("Drifted")
    name = profile.name

    def shown() -> bool:
        now = Scrape.of(pair[0])
        assert now.sum("condition", profile=name, type="Suspended", status="True") == 1
        assert now.sum("profile_info", profile=name, suspended="true", mode="Enforce", drifted="True") == 1
        assert now.sum("drift_items", profile=name, target_kind="NodePool", action="Deferred") == 1
        assert now.sum("heal_deferred", profile=name, reason="SuspendRequested") == 1
        assert now.sum("drift_first_seen_timestamp_seconds", profile=name, action="Deferred")
        assert now.sum("pool_ready", profile=name, pool=profile.server, role="Server") == 1
        assert now.sum("last_success_timestamp_seconds", profile=name)
        return True

    await eventually(shown)
    profile.patch({"suspend": False})
    await profile.condition_is("Drifted", "False")
    profile.delete()
    await profile.gone()
    await eventually(lambda: name not in Scrape.of(pair[0]).text)


async def test_one_replica_leads_and_the_other_one_has_no_profiles(
    pair: tuple[Operator, Operator], own: Workspace
) -> None:
    profile = own.profile()
    await profile.ready()
    leader, standby = map(Scrape.of, pair)
    assert (leader.sum("is_leader"), standby.sum("is_leader")) == (1, 0)
    assert leader.sum("profile_info", profile=profile.name) == 1
    assert standby.sum("profile_info") is None
    assert leader.sum("build_info") == 1
    assert leader.type.startswith("text/plain")
    for scrape in (leader, standby):
        assert scrape.sum("api_requests_total", resource="leases", code="200")
    await pair[0].restart()  # in good order, so the other one takes over

    def taken_over() -> bool:
        now = Scrape.of(pair[1])
        assert now.sum("is_leader") == 1
        assert now.sum("last_success_timestamp_seconds", profile=profile.name)
        return True

    await eventually(taken_over)
    assert Scrape.of(pair[0]).sum("is_leader") == 0


def test_a_port_that_is_taken_is_told_in_a_sentence(pair: tuple[Operator, Operator]) -> None:
    command = [sys.executable, "-m", "connect_autoscaler", "run", "--metrics-port", str(pair[0].port)]
    kubeconfig = str(pair[0].cluster.dir / "kubeconfig")
    ended = subprocess.run([*command, "--kubeconfig", kubeconfig], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Error: cannot serve probes and metrics: " in ended.stderr
    assert str(pair[0].port) in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.debian
def test_promtool_finds_nothing_to_object_to(pair: tuple[Operator, Operator], promtool: str) -> None:
    text = Scrape.of(pair[0]).text
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_argo_cd_and_kstatus_say_the_same(pair: tuple[Operator, Operator], own: Workspace) -> None:
    assert pair
    good, lost = own.profile(), own.profile(nodeClassRef={"name": "there-is-none"})
    live = await good.ready()
    assert (health(live)[0], kstatus(live)) == ("Healthy", "Current")
    live = await lost.condition_is("Ready", "False")
    assert health(live)[0] != "Healthy"
    assert kstatus(live) != "Current"
    good.patch({"suspend": True})
    assert health(await good.condition_is("Suspended"))[0] == "Suspended"


def test_the_dashboard_and_argo_cd_s_patch_are_taken(own_cluster: Cluster) -> None:
    (config,) = kustomize(own_cluster, DEPLOY / "dashboards")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert list(config["data"]) == ["connect-autoscaler.json"]
    made = own_cluster.kubectl("create", "configmap", "argocd-cm", "-n", "default")
    assert made.returncode == 0, made.stderr
    patch = str(DEPLOY / "argocd" / "argocd-cm.yaml")
    patched = own_cluster.kubectl("patch", "configmap", "argocd-cm", "-n", "default", "--patch-file", patch)
    assert patched.returncode == 0, patched.stderr
