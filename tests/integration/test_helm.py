"""The real helm 4 against a real API server, with the stand-in chart: what it does, and what it says when it cannot."""

import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release.helm import Access, Helm, HelmError, Target
from harness import NODES, ROOT, Api, Kind, unique
from sandbox import Cluster, eventually

CHART = ROOT / "tests" / "charts" / "rstudio-connect"
NAME = "connect"
DEPLOYMENT = "connect-rstudio-connect"
TOP_SECRET = "hunter2-in-the-gcfg"  # noqa: S105 - it must never be seen
HISTORY = 10
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


@dataclass(frozen=True)
class Installed:
    """A release of its own, on a node of its own."""

    cluster: Cluster
    helm: Helm
    target: Target
    node: str

    @property
    def access(self) -> Access:
        return Access(str(self.cluster.kubeconfig))

    @property
    def values(self) -> dict[str, Any]:
        return {
            "sharedStorage": {"create": False, "mount": False},
            "license": {"key": "AAAA-BBBB"},
            "nodeSelector": {"kubernetes.io/hostname": self.node},
            "tolerations": [{"operator": "Exists"}],
            "config": {"Kubernetes": {"DataDirPVCName": "data"}, "Postgres": {"Password": TOP_SECRET}},
        }

    @property
    def unschedulable(self) -> dict[str, Any]:
        return {**self.values, "nodeSelector": {"no-such-label": "at-all"}}

    async def upgrade(self, values: dict[str, Any], *, timeout: str = "30s", **options: Any) -> None:  # noqa: ASYNC109
        await self.helm.upgrade(
            self.target,
            self.access,
            CHART,
            values,
            timeout=timeout,
            attempt="a-1",
            description="profile production, generation 3",
            history_max=HISTORY,
            **options,
        )

    def ask(self, *arguments: str) -> Any:
        asked = self.cluster.helm(*arguments, NAME, "--namespace", self.target.namespace, "--output", "json")
        assert asked.returncode == 0, asked.stderr
        return json.loads(asked.stdout)

    def history(self) -> list[tuple[int, str, str]]:
        """Return number, status and description of each revision."""
        return [(each["revision"], each["status"], each["description"]) for each in self.ask("history")]

    def last(self) -> tuple[str, str]:
        """Return status and description of the last revision."""
        return self.history()[-1][1:]

    def running(self) -> list[int]:
        """Return the helm processes that work on this release."""
        return [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if f"--namespace={self.target.namespace}" in _arguments(path)
        ]

    async def pending(self) -> int:
        """Wait until helm holds the lock; return its process."""
        await eventually(lambda: self.last()[0] == "pending-upgrade", interval=0.05)
        (pid,) = self.running()
        return pid


def _arguments(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split("\0")
    except OSError:  # it has ended
        return []


@pytest.fixture
async def installed(full_cluster: Cluster, tmp_path: Path) -> AsyncIterator[Installed]:
    name = unique("helm")
    room = {"cpu": "8", "memory": "32Gi", "pods": "20"}
    full_cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {
            "apiVersion": "v1",
            "kind": "Node",
            # Tainted: no other test's pods come here.
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
            "spec": {"taints": [{"key": "test", "value": name, "effect": "NoSchedule"}]},
            "status": {"allocatable": room, "capacity": room},
        },
    )
    release = Installed(
        full_cluster, Helm(str(full_cluster.binary("helm")), tmp_path / "home", grace=20), Target(name, NAME), name
    )
    options = ("--namespace", name, "--values", "-", "--wait", "--timeout", "30s")
    done = full_cluster.helm("install", NAME, CHART, *options, input=json.dumps(release.values))
    assert done.returncode == 0, done.stderr
    yield release
    api = Api(full_cluster.api)
    api.delete(Kind("v1", "namespaces"), name)
    api.delete(NODES, name)


def seen(error: HelmError) -> str:
    """Return what a user sees of an error, which never holds a value."""
    assert TOP_SECRET not in f"{error!r} {error}"
    return error.message


async def test_version(installed: Installed) -> None:
    assert (await installed.helm.version()).startswith("v4.")


async def test_renders_what_is_installed_and_writes_nothing(installed: Installed) -> None:
    manifest = await installed.helm.render(installed.target, installed.access, CHART, installed.values)
    stored = installed.cluster.helm("get", "manifest", NAME, "--namespace", installed.target.namespace).stdout
    assert manifest.strip() == stored.strip()
    assert TOP_SECRET in manifest
    changed = await installed.helm.render(installed.target, installed.access, CHART, installed.unschedulable)
    assert changed != manifest
    assert len(installed.history()) == 1


async def test_upgrade(installed: Installed) -> None:
    tricky = {"yes": "y", "float": "1e3", "octal": "0o7", "null": None, "number": 3}
    values = {**installed.values, "unknown": tricky}
    await installed.upgrade(values)
    assert installed.history()[1:] == [(2, "deployed", "profile production, generation 3")]
    assert installed.ask("get", "values") == values
    secret = Api(installed.cluster.api).get(
        Kind("v1", "secrets", installed.target.namespace), f"sh.helm.release.v1.{NAME}.v2"
    )
    assert secret["metadata"]["labels"]["connect-autoscaler.io/attempt"] == "a-1"


async def test_what_does_not_become_ready_is_rolled_back(installed: Installed) -> None:
    with pytest.raises(HelmError) as caught:
        await installed.upgrade(installed.unschedulable, timeout="2s")
    error = caught.value
    assert (error.reason, error.cause, error.passing) == (Reason.ROLLED_BACK, Reason.TIMEOUT, False)
    assert f"Deployment/{installed.target.namespace}/{DEPLOYMENT} did not become ready" in seen(error)
    assert [status for _, status, _ in installed.history()] == ["superseded", "failed", "deployed"]
    assert installed.ask("get", "values") == installed.values


async def test_refused_by_the_chart(installed: Installed) -> None:
    values = installed.values | {"launcher": {"enabled": True}}
    with pytest.raises(HelmError) as caught:
        await installed.helm.render(installed.target, installed.access, CHART, values)
    assert caught.value.reason is Reason.RENDER_FAILED
    assert "`launcher.enabled` and `backends.kubernetes.enabled` exclude each other" in seen(caught.value)
    with pytest.raises(HelmError) as caught:
        await installed.upgrade(installed.values | {"readinessProbe": None})
    assert caught.value.reason is Reason.RENDER_FAILED
    assert "rstudio-connect/templates/deployment.yaml:" in seen(caught.value)
    assert len(installed.history()) == 1


@linux
async def test_a_killed_helm_leaves_a_lock_that_a_rollback_opens(installed: Installed) -> None:
    upgrade = asyncio.create_task(installed.upgrade(installed.unschedulable))
    os.kill(await installed.pending(), signal.SIGKILL)
    with pytest.raises(HelmError) as caught:
        await upgrade
    assert (caught.value.reason, seen(caught.value)) == (Reason.CANCELLED, "helm was ended by signal 9")
    for again in (
        installed.upgrade(installed.values),
        installed.helm.render(installed.target, installed.access, CHART, installed.values),
    ):
        with pytest.raises(HelmError) as caught:
            await again
        assert (caught.value.reason, caught.value.passing) == (Reason.PENDING_RELEASE, True)
    await installed.helm.rollback(installed.target, installed.access, 1, timeout="30s", history_max=HISTORY)
    assert installed.last() == ("deployed", "Rollback to 1")


async def test_a_foreign_field_is_a_conflict_unless_forced(installed: Installed) -> None:
    kind = Kind("apps/v1", "deployments", installed.target.namespace)
    api = Api(installed.cluster.api)
    api.merge(kind, DEPLOYMENT, {"spec": {"replicas": 2}})
    with pytest.raises(HelmError) as caught:
        await installed.upgrade(installed.values)
    assert (caught.value.reason, caught.value.cause) == (Reason.ROLLBACK_FAILED, Reason.CONFLICT)
    assert f'Deployment {installed.target.namespace}/{DEPLOYMENT}: "kubectl-edit" owns .spec.replicas' in seen(
        caught.value
    )
    await installed.upgrade(installed.values, force_conflicts=True)
    assert api.get(kind, DEPLOYMENT)["spec"]["replicas"] == 1


async def test_impersonation_of_an_account_without_rights(installed: Installed) -> None:
    user = f"system:serviceaccount:{installed.target.namespace}:default"
    access = Access(str(installed.cluster.kubeconfig), "sandbox", user)
    with pytest.raises(HelmError) as caught:
        await installed.helm.render(installed.target, access, CHART, installed.values)
    assert caught.value.reason is Reason.FORBIDDEN
    assert f'{user} may not list secrets in the namespace "{installed.target.namespace}"' in seen(caught.value)


async def test_no_release_no_revision_no_server(installed: Installed, tmp_path: Path) -> None:
    nobody = Target(installed.target.namespace, "nobody")
    with pytest.raises(HelmError) as caught:
        await installed.helm.render(nobody, installed.access, CHART, {})
    assert caught.value.reason is Reason.RELEASE_NOT_FOUND
    with pytest.raises(HelmError) as caught:
        await installed.helm.rollback(installed.target, installed.access, 99, timeout="5s", history_max=HISTORY)
    assert caught.value.reason is Reason.RELEASE_NOT_FOUND
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(
        installed.cluster.kubeconfig.read_text().replace(installed.cluster.server, "https://127.0.0.1:1")
    )
    with pytest.raises(HelmError) as caught:
        await installed.helm.render(installed.target, Access(str(elsewhere)), CHART, installed.values)
    assert (caught.value.reason, caught.value.passing) == (Reason.API_UNAVAILABLE, True)


@linux
async def test_a_cancelled_upgrade_is_rolled_back_at_once(installed: Installed) -> None:
    upgrade = asyncio.create_task(installed.upgrade(installed.unschedulable, timeout="60s"))
    await installed.pending()
    upgrade.cancel()
    await asyncio.sleep(0)
    upgrade.cancel()  # also an impatient one waits for the end
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(upgrade), 15)
    assert installed.running() == []
    assert [status for _, status, _ in installed.history()] == ["superseded", "failed", "deployed"]
    assert installed.last() == ("deployed", "Rollback to 1")


@linux
async def test_helm_does_not_outlive_an_operator_that_is_killed(installed: Installed) -> None:
    program = textwrap.dedent(
        """
        import asyncio, json, sys
        from pathlib import Path
        from connect_autoscaler.release.helm import Access, Helm, Target
        binary, home, namespace, kubeconfig, chart, values = sys.argv[1:]
        asyncio.run(Helm(binary, Path(home)).upgrade(
            Target(namespace, "connect"), Access(kubeconfig), Path(chart), json.loads(values),
            timeout="60s", attempt="a", description="", history_max=10,
        ))
        """
    )
    binary = str(installed.cluster.binary("helm"))
    command = [sys.executable, "-c", program, binary, str(installed.helm.home), installed.target.namespace]
    command += [str(installed.cluster.kubeconfig), str(CHART), json.dumps(installed.unschedulable)]
    operator = await asyncio.create_subprocess_exec(*command)
    try:
        helm = await installed.pending()
    finally:
        operator.kill()
    await operator.wait()
    await eventually(lambda: helm not in installed.running(), timeout=15)
    assert [status for _, status, _ in installed.history()] == ["deployed", "pending-upgrade"], "nothing is rolled back"
