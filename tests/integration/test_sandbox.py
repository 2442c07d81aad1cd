"""The local control plane itself: what it offers, and that nothing of it is left behind."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import Cluster, Parts, SandboxError, cluster, eventually
from sandbox.access import client
from sandbox.tools import tool_of
from sandbox.wait import poll

NODE_POOLS = "karpenter.sh/v1"


def config_map(name: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}, **fields}


def definition(kind: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": {"type": "object"}}}
    singular, plural = kind.lower(), f"{kind.lower()}s"
    names = {"plural": plural, "singular": singular, "kind": kind, "listKind": f"{kind}List"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.sandbox.test"},
        "spec": {"group": "sandbox.test", "scope": "Cluster", "names": names, "versions": [version]},
    }


def who_am_i(kubeconfig: Path) -> dict[str, Any]:
    api = client(kubeconfig)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    response = api.post(version="authentication.k8s.io/v1", url="selfsubjectreviews", json=review)
    api.raise_for_status(response)
    api.session.close()
    return dict(response.json()["status"]["userInfo"])


def leftovers(directory: Path) -> list[str]:
    """Return the processes that still have to do with a cluster: each has its directory in its arguments."""
    lines = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in lines.splitlines() if str(directory) in line]


def gone(directory: Path) -> bool:
    return not directory.exists() and not leftovers(directory)


# What it offers


async def test_the_api_alone(api_cluster: Cluster) -> None:
    version = api_cluster.api.get(version="/version").json()
    assert version["gitVersion"] == f"v{tool_of('kube-apiserver').version}"
    assert list(api_cluster.logs) == ["etcd", "kube-apiserver"]
    pools = api_cluster.api.get(version=NODE_POOLS, url="nodepools")
    assert pools.ok
    definitions = api_cluster.api.get(version="apiextensions.k8s.io/v1", url="customresourcedefinitions").json()
    groups = {definition["spec"]["group"] for definition in definitions["items"]}
    assert {"karpenter.sh", "karpenter.kwok.sh"} <= groups


def test_apply_is_strict(api_cluster: Cluster) -> None:
    with pytest.raises(SandboxError, match=r"cannot apply ConfigMap strict: \d+ .*nonsense"):
        api_cluster.apply(config_map("strict", nonsense=1))
    assert api_cluster.api.get(version="v1", namespace="default", url="configmaps/strict").status_code == 404


def test_apply_takes_text_files_directories_and_lists(api_cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(json.dumps(config_map("one")) + "\n---\n" + json.dumps(config_map("two")))
    listed = {"apiVersion": "v1", "kind": "List", "items": [config_map("three"), config_map("four")]}
    applied = api_cluster.apply(tmp_path, json.dumps(listed), config_map("five"), field_manager="someone")
    assert [each["metadata"]["name"] for each in applied] == ["one", "two", "three", "four", "five"]
    assert {each["metadata"]["managedFields"][0]["manager"] for each in applied} == {"someone"}


def test_apply_knows_new_kinds_at_once(api_cluster: Cluster) -> None:
    gadget = {"apiVersion": "sandbox.test/v1", "kind": "Gadget", "metadata": {"name": "one"}}
    with pytest.raises(SandboxError, match=r"knows no Gadget in sandbox\.test/v1"):
        api_cluster.apply(gadget)
    *_, applied = api_cluster.apply(definition("Gadget"), gadget)
    assert applied["metadata"]["uid"]


def test_users_and_service_accounts(api_cluster: Cluster) -> None:
    user = who_am_i(api_cluster.user_kubeconfig("jane", ["staff", "night-shift"]))
    assert user["username"] == "jane"
    assert {"staff", "night-shift"} <= set(user["groups"])
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "default"}}
    api_cluster.apply(account)
    robot = who_am_i(api_cluster.service_account_kubeconfig("default", "robot"))
    assert robot["username"] == "system:serviceaccount:default:robot"


def test_kubectl_and_helm_see_this_cluster_only(api_cluster: Cluster) -> None:
    server = api_cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    assert server.stdout == api_cluster.server
    piped = api_cluster.kubectl("create", "--dry-run=server", "-o=name", "-f-", input=json.dumps(config_map("piped")))
    assert piped.stdout == "configmap/piped\n"
    assert json.loads(api_cluster.helm("list", "--all-namespaces", "--output=json").stdout) == []
    home = api_cluster.helm("env", "HELM_CONFIG_HOME").stdout
    assert home.startswith(str(api_cluster.dir))


def test_the_audit_log_tells_who_wrote_what(api_cluster: Cluster) -> None:
    api, audit = api_cluster.api, api_cluster.audit
    stranger = client(api_cluster.user_kubeconfig("stranger"))
    who_am_i(api_cluster.user_kubeconfig("stranger"))
    start = audit.marker()
    agent = {"User-Agent": "tester/1.0"}
    target: dict[str, Any] = {"version": "v1", "namespace": "default", "url": "configmaps"}
    assert api.post(**target, json=config_map("audited"), headers=agent).status_code == 201
    assert api.post(**target, json=config_map("audited"), headers=agent).status_code == 409
    dry_run = {"params": {"dryRun": "All"}, "headers": agent}
    assert api.post(**target, json=config_map("dry"), **dry_run).status_code == 201
    assert api.get(**target, headers=agent).ok
    assert stranger.post(**target, json=config_map("forbidden")).status_code == 403
    who_am_i(api_cluster.user_kubeconfig("stranger"))
    stranger.session.close()

    writes = audit.writes(user_agent="tester/", since=start)
    assert [(entry.verb, entry.name, entry.code, entry.dry_run) for entry in writes] == [
        ("create", "audited", 201, False),
        ("create", "audited", 409, False),
        ("create", "dry", 201, True),
    ]
    first = writes[0]
    assert (first.user, first.group, first.resource, first.subresource) == ("admin", "", "configmaps", "")
    assert (first.namespace, first.user_agent) == ("default", "tester/1.0")
    assert [entry.verb for entry in audit.requests(user_agent="tester/", since=start)].count("list") == 1
    assert [entry.code for entry in audit.writes(user="stranger", since=start)] == [403]
    assert audit.count_writes(user="admin", since=start) == 1
    assert audit.count_writes(user="stranger", since=start) == 0
    assert audit.writes(since=audit.marker()) == []


# It runs


def _deployment(name: str) -> dict[str, Any]:
    # Not a bare pod: whatever evicts one on a new node, it would not come back.
    container = {"name": "main", "image": "none", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    spec = {"nodeSelector": {"workload": name}, "containers": [container], "terminationGracePeriodSeconds": 0}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def _pool(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    group = "karpenter.kwok.sh"
    node_class = {"apiVersion": f"{group}/v1alpha1", "kind": "KWOKNodeClass", "metadata": {"name": name}}
    small = {"key": f"{group}/instance-cpu", "operator": "Lt", "values": ["5"]}
    spec = {"nodeClassRef": {"group": group, "kind": "KWOKNodeClass", "name": name}, "requirements": [small]}
    template = {"metadata": {"labels": {"workload": name}}, "spec": spec}
    pool = {"apiVersion": NODE_POOLS, "kind": "NodePool", "metadata": {"name": name}, "spec": {"template": template}}
    return node_class, pool


async def _a_pending_pod_gets_a_node(it: Cluster, name: str) -> str:
    """Play the scene, and return the name of the NodeClaim."""
    it.apply(*_pool(name), _deployment(name))

    def pod() -> dict[str, Any] | None:
        query = {"labelSelector": f"app={name}", "fieldSelector": "status.phase=Running"}
        running = it.api.get(version="v1", namespace="default", url="pods", params=query).json()["items"]
        return running[0] if running else None

    running = await eventually(pod, timeout=60)
    assert running
    node = it.api.get(version="v1", url=f"nodes/{running['spec']['nodeName']}").json()
    assert node["metadata"]["labels"]["karpenter.sh/nodepool"] == name
    (owner,) = node["metadata"]["ownerReferences"]
    assert owner["kind"] == "NodeClaim"
    return str(owner["name"])


async def test_a_pending_pod_gets_a_node_from_each_karpenter(full_cluster: Cluster) -> None:
    api, name = full_cluster.api, "sandbox-pods"
    async with cluster(
        karpenter="1.15", feature_gates="StaticCapacity=true", karpenter_env={"LOG_LEVEL": "info"}
    ) as it:
        claim, _ = await asyncio.gather(*(_a_pending_pod_gets_a_node(each, name) for each in (full_cluster, it)))
        log = it.logs["karpenter"].read_text()
    assert '"controller":"static.provisioning"' in log  # runs with that feature gate only
    assert "DEBUG" not in log

    api.delete(version="apps/v1", namespace="default", url=f"deployments/{name}")
    api.delete(version=NODE_POOLS, url=f"nodepools/{name}", json={"propagationPolicy": "Foreground"})
    await eventually(lambda: api.get(version=NODE_POOLS, url=f"nodeclaims/{claim}").status_code == 404, timeout=60)


async def test_a_job_lasts_as_long_as_its_annotation_says(full_cluster: Cluster) -> None:
    delays = {f"pod-complete.stage.kwok.x-k8s.io/{kind}": "1s" for kind in ("delay", "jitter-delay")}
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "sandbox-node"}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "sandbox-render", "namespace": "default"},
        "spec": {"template": {"metadata": {"annotations": delays}, "spec": {**pod, "nodeName": "sandbox-node"}}},
    }
    full_cluster.apply(node, job)
    url = "jobs/sandbox-render"

    def status() -> dict[str, Any]:
        return dict(full_cluster.api.get(version="batch/v1", namespace="default", url=url).json()["status"])

    await eventually(lambda: status().get("succeeded") == 1, timeout=30)
    full_cluster.api.delete(version="batch/v1", namespace="default", url=url)
    full_cluster.api.delete(version="v1", url="nodes/sandbox-node")


# Its programs


@pytest.fixture(scope="module")
async def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    crds = tmp_path_factory.mktemp("crds")
    (crds / "widgets.yaml").write_text(json.dumps(definition("Widget")))
    async with cluster(parts=Parts.API, crds=crds) as running:
        yield running


async def test_definitions_of_ones_own(own_cluster: Cluster) -> None:
    assert own_cluster.api.get(version="sandbox.test/v1", url="widgets").ok
    assert own_cluster.api.get(version=NODE_POOLS, url="nodepools").status_code == 404


async def test_components_come_back_where_they_were(own_cluster: Cluster) -> None:
    def kept() -> bool:
        return bool(own_cluster.api.get(version="v1", namespace="default", url="configmaps/kept").ok)

    own_cluster.apply(config_map("kept"))
    await own_cluster.stop("kube-apiserver")
    with pytest.raises(requests.ConnectionError):
        kept()
    await own_cluster.kill("etcd")
    await own_cluster.start("etcd")
    await own_cluster.restart("kube-apiserver")
    assert kept()


async def test_karpenter_never_starts_before_its_definitions() -> None:
    with pytest.raises(SandboxError, match="needs its custom resource definitions"):
        async with cluster(crds=None):
            pass


# Nothing is left behind


async def test_two_side_by_side_end_by_themselves_and_by_an_exception() -> None:
    both = asyncio.Barrier(2)
    directories: list[Path] = []

    async def run(end: Exception | None) -> None:
        async with cluster(parts=Parts.API, karpenter=None) as it:
            directories.append(it.dir)
            await both.wait()
            it.apply(config_map("mine"))
            await both.wait()
            if end:
                raise end

    results = await asyncio.gather(run(None), run(ValueError("mine")), return_exceptions=True)
    assert [repr(result) for result in results] == ["None", "ValueError('mine')"]
    assert len(set(directories)) == 2
    for directory in directories:
        assert gone(directory)


async def test_a_crash_in_the_middle_is_an_error() -> None:
    async def watch() -> None:
        async with cluster(parts=Parts.API, karpenter=None) as it:
            directories.append(it.dir)
            os.kill(it.pid("kube-apiserver"), signal.SIGKILL)
            await it.watch()

    directories: list[Path] = []
    with pytest.raises(SandboxError, match="kube-apiserver ended with code -9"):
        await watch()
    assert gone(*directories)


class Up:
    """`python -m sandbox up --api-only` in a session of its own, as a terminal would have it."""

    def __init__(self, directory: Path, **variables: str) -> None:
        self.errors = directory / "stderr"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sandbox", "up", "--api-only"],
                env={**os.environ, **variables, "TMPDIR": str(directory)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        self.output = self.process.stdout

    def kubeconfig(self) -> Path:
        """Wait for the line that users paste, and return the path in it."""
        line = self.output.readline().strip()
        assert line.startswith("export KUBECONFIG="), self.errors.read_text()
        assert self.output.readline().startswith("export PATH=")
        return Path(line.partition("=")[2])

    def close(self) -> None:
        self.process.kill()
        self.output.close()
        self.process.wait()


# How each signal ends it: Ctrl-C is the way it is meant to end.
ENDS = {signal.SIGINT: 0, signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGKILL: -signal.SIGKILL}


@pytest.fixture(scope="module")
def ups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[signal.Signals, Up]]:
    """One for each signal, started at the same time."""
    running = {number: Up(tmp_path_factory.mktemp("up")) for number in ENDS}
    yield running
    for each in running.values():
        each.close()


@pytest.mark.parametrize("number", ENDS)
def test_every_signal_ends_everything(ups: dict[signal.Signals, Up], number: signal.Signals) -> None:
    running = ups[number]
    kubeconfig = running.kubeconfig()
    assert who_am_i(kubeconfig)["username"] == "admin"
    assert leftovers(kubeconfig.parent)
    os.killpg(running.process.pid, number)  # the whole foreground group, as Ctrl-C does
    assert running.process.wait(timeout=30) == ENDS[number]
    if number == signal.SIGKILL:
        assert poll(lambda: gone(kubeconfig.parent), timeout=30)
    assert gone(kubeconfig.parent)
    assert "Traceback" not in running.errors.read_text()


def test_a_component_that_dies_at_the_start_is_shown(tmp_path: Path) -> None:
    etcd = tmp_path / "bin" / "etcd"
    etcd.parent.mkdir()
    etcd.write_text("#!/bin/sh\necho no space left on device >&2\nexit 3\n")
    etcd.chmod(0o755)
    with contextlib.closing(Up(tmp_path, CONNECT_AUTOSCALER_SANDBOX_BIN=str(etcd.parent))) as running:
        assert running.process.wait(timeout=30) == 1
        said = running.errors.read_text()
    assert said.startswith("error: etcd ended with code 3; its last lines:\n    no space left on device")
    assert "Traceback" not in said
    assert not list(tmp_path.glob("connect-autoscaler*"))
    assert not leftovers(tmp_path)
