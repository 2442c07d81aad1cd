"""The configuration of kube-state-metrics, read by the real program: only where somebody has put it on the PATH.

It is not built as the other programs are: its Go module cannot be had everywhere.
"""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from harness import DEPLOY, LocalOperator, Profile
from sandbox import eventually
from sandbox.components import free_ports

PROGRAM = shutil.which("kube-state-metrics")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="kube-state-metrics is not on the PATH")
USER = "kube-state-metrics"
RIGHTS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": USER},
    "rules": [
        {"apiGroups": [group], "resources": [resource], "verbs": ["list", "watch"]}
        for group, resource in (
            ("apiextensions.k8s.io", "customresourcedefinitions"),
            ("connect-autoscaler.io", "connectautoscalingprofiles"),
        )
    ],
}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": USER},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": USER},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
}


@pytest.fixture
async def port(local_operator: LocalOperator, tmp_path: Path) -> AsyncIterator[int]:
    """Where it serves what it reads with the rights that the page on monitoring names."""
    cluster = local_operator.cluster
    cluster.apply(RIGHTS, BINDING)
    metrics, telemetry = free_ports(2)
    arguments = {
        "kubeconfig": cluster.user_kubeconfig(USER),
        "custom-resource-state-only": "true",
        "custom-resource-state-config-file": DEPLOY / "kube-state-metrics.yaml",
        "host": "127.0.0.1",
        "port": metrics,
        "telemetry-host": "127.0.0.1",
        "telemetry-port": telemetry,
    }
    with (tmp_path / "log").open("wb") as log:
        command = [str(PROGRAM), *(f"--{name}={value}" for name, value in arguments.items())]
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=subprocess.STDOUT)
    yield metrics
    process.terminate()
    await process.wait()


def told(port: int, name: str) -> dict[str, str]:
    """Return the labels of a profile's metric; none if there is no such metric yet."""
    try:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    except requests.exceptions.ConnectionError:
        return {}
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    mine = [each for each in samples if each.labels.get("name") == name]
    assert {(each.name, each.value) for each in mine} <= {("connect_autoscaling_resource_info", 1.0)}
    assert len(mine) < 2
    return mine[0].labels if mine else {}


async def test_a_profile_is_one_metric_with_its_state(port: int, ready: Profile) -> None:
    wanted = {"name": ready.name, "ready": "True", "drifted": "False", "suspended": "false", "mode": "Enforce"}
    await eventually(lambda: wanted.items() <= told(port, ready.name).items(), timeout=60)
    assert "manager" not in told(port, ready.name), "it has no release"
    ready.patch({"mode": "Plan", "suspend": True})
    later = {"name": ready.name, "suspended": "true", "mode": "Plan"}
    await eventually(lambda: later.items() <= told(port, ready.name).items(), timeout=60)
    ready.delete()
    await eventually(lambda: told(port, ready.name) == {}, timeout=60)
