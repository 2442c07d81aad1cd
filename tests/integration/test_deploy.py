"""What `kubectl apply -k deploy` does, said by kubectl and a real API server."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from connect_autoscaler import __version__
from connect_autoscaler.__main__ import run_operator
from harness import DEPLOY, NAMESPACE, NODE_POOLS, Json, kustomize, unique
from integration.deploying import PROMETHEUS_OPERATOR
from sandbox import Cluster, eventually

COMPONENTS = sorted(path.name for path in (DEPLOY / "components").iterdir())
OVERLAYS = sorted((DEPLOY / "overlays").iterdir())
SAMPLES = sorted((DEPLOY / "samples").glob("*.yaml"))


def only(objects: list[Json], kind: str) -> Json:
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


@pytest.fixture(scope="module")
def deployed(api_cluster: Cluster) -> list[Json]:
    """Everything of deploy/, applied; the API server is strict about unknown fields."""
    return api_cluster.apply(*kustomize(api_cluster))


@pytest.fixture(scope="module")
def deployment(deployed: list[Json]) -> Json:
    return only(deployed, "Deployment")


@pytest.fixture(scope="module")
def pod(deployment: Json) -> Json:
    """The pod that the Deployment makes."""
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "example"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def with_component(cluster: Cluster, component: str, scratch: Path) -> list[Json]:
    """Build what users write: a kustomization of their own, elsewhere, with one component."""
    base = "overlays/observe-only" if component == "enforcement" else ""
    there = {name: os.path.relpath(DEPLOY / name, scratch) for name in (base, f"components/{component}")}
    kustomization = {"resources": [there[base]], "components": [there[f"components/{component}"]]}
    (scratch / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomize(cluster, scratch)


def admitted(cluster: Cluster, pod: Json) -> requests.Response:
    answer: requests.Response = cluster.api.post(
        version="v1", namespace=NAMESPACE, url="pods", params={"dryRun": "All"}, json=pod
    )
    return answer


def test_everything_is_there(deployed: list[Json]) -> None:
    kinds = [each["kind"] for each in deployed]
    assert sorted(kinds) == [
        *["ClusterRole"] * 3,
        *["ClusterRoleBinding"] * 2,
        "CustomResourceDefinition",
        "Deployment",
        "Namespace",
        "NetworkPolicy",
        *["Role"] * 2,
        *["RoleBinding"] * 2,
        "Service",
        "ServiceAccount",
    ]
    name = "app.kubernetes.io/name"
    assert all(each["metadata"]["labels"][name] == "connect-autoscaler" for each in deployed)


def test_kubectl_applies_it(api_cluster: Cluster, deployed: list[Json]) -> None:
    applied = api_cluster.kubectl("apply", "--dry-run=server", "-k", DEPLOY)
    assert applied.returncode == 0, applied.stderr
    assert len(applied.stdout.splitlines()) == len(deployed)
    # kubectl warns of the resources that it did not apply itself before; of nothing else, such as of pod security.
    assert [line for line in applied.stderr.splitlines() if "last-applied-configuration" not in line] == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_components_apply(api_cluster: Cluster, deployed: list[Json], component: str, tmp_path: Path) -> None:
    api_cluster.apply(*PROMETHEUS_OPERATOR)
    built = with_component(api_cluster, component, tmp_path)
    assert built != kustomize(api_cluster, DEPLOY / "overlays/observe-only")
    assert len(built) >= len(deployed)
    applied = api_cluster.kubectl("apply", "--dry-run=server", "-k", tmp_path)
    assert applied.returncode == 0, applied.stderr


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_samples_apply_and_explain_themselves(api_cluster: Cluster, deployed: list[Json], sample: Path) -> None:
    assert deployed
    applied = api_cluster.kubectl("apply", "--dry-run=server", "-f", sample)
    assert applied.returncode == 0, applied.stderr
    assert sample.read_text().startswith("# ")


def test_the_pod_is_restricted(api_cluster: Cluster, pod: Json) -> None:
    answer = admitted(api_cluster, pod)
    assert answer.status_code == 201, answer.text
    assert "Warning" not in answer.headers
    # The namespace itself sees to it: the same pod with one privilege is refused.
    container = {**pod["spec"]["containers"][0], "securityContext": {"privileged": True}}
    refused = admitted(api_cluster, {**pod, "spec": {**pod["spec"], "containers": [container]}})
    assert refused.status_code == 403
    assert "violates PodSecurity" in refused.json()["message"]


def test_the_container_needs_nothing_and_promises_its_needs(deployment: Json, pod: Json) -> None:
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["image"] == f"connect-autoscaler:{__version__}"
    for kind in ("requests", "limits"):
        assert set(container["resources"][kind]) == {"cpu", "ephemeral-storage", "memory"}
    assert pod["spec"]["securityContext"]["runAsUser"] == 65532
    assert deployment["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_two_copies_never_run(deployment: Json) -> None:
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"]["type"] == "Recreate"


def test_two_replicas_elect_one(api_cluster: Cluster, tmp_path: Path) -> None:
    built = with_component(api_cluster, "high-availability", tmp_path)
    deployment = only(built, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["run", "--leader-elect"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["type"] == "Recreate"  # one without a Lease never beside one with it
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert all(each["labelSelector"]["matchLabels"].items() <= labels for each in spread)
    budget = only(built, "PodDisruptionBudget")["spec"]
    assert budget["selector"]["matchLabels"].items() <= labels
    assert budget["minAvailable"] == 1


def test_it_never_runs_on_nodes_that_it_steers(pod: Json) -> None:
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "karpenter.sh/nodepool", "operator": "DoesNotExist"}]


def test_variables_are_options_of_the_command_line(pod: Json) -> None:
    (container,) = pod["spec"]["containers"]
    given = {each["name"]: each for each in container["env"]}
    known = {name for option in run_operator.params for name in option.envvar or ()}
    assert {name for name in given if name.startswith("CONNECT_AUTOSCALER_")} <= known
    assert container["args"] == [run_operator.name]
    probes = {container[kind]["httpGet"]["path"]: container[kind]["httpGet"]["port"] for kind in _PROBES}
    assert probes == {"/healthz": "probes", "/readyz": "probes"}


_PROBES = ("livenessProbe", "readinessProbe")


def test_components_may_stand_where_every_node_is_karpenters(api_cluster: Cluster, tmp_path: Path) -> None:
    deployment = only(with_component(api_cluster, "any-node", tmp_path), "Deployment")
    affinity = deployment["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    (preferred,) = affinity.pop("preferredDuringSchedulingIgnoredDuringExecution")
    assert affinity == {}
    assert preferred["preference"]["matchExpressions"] == [{"key": "karpenter.sh/nodepool", "operator": "DoesNotExist"}]


@pytest.mark.parametrize("directory", [DEPLOY, *OVERLAYS], ids=lambda path: path.name)
def test_kube_score_finds_nothing_critical(api_cluster: Cluster, directory: Path) -> None:
    built = yaml.safe_dump_all(kustomize(api_cluster, directory))
    command = [
        str(api_cluster.binary("kube-score")),
        "score",
        "--output-format",
        "ci",
        "--kubernetes-version",
        "v1.36",
        "-",
    ]
    scored = subprocess.run(command, input=built, capture_output=True, text=True, check=False)
    assert scored.returncode == 0, scored.stdout + scored.stderr
    verdicts = scored.stdout.splitlines()
    assert any("apps/v1/Deployment" in line and line.startswith("[OK]") for line in verdicts)
    assert [line for line in verdicts if line.startswith("[CRITICAL]")] == []
    # Nor does it find nothing because it was told not to look.
    assert "kube-score/ignore" not in built


# The deletion guard


def _pool(name: str, labels: dict[str, str]) -> dict[str, Any]:
    reference = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
    template = {"spec": {"nodeClassRef": reference, "requirements": []}}
    metadata = {"name": name, "labels": labels}
    return {
        "apiVersion": NODE_POOLS.version,
        "kind": "NodePool",
        "metadata": metadata,
        "spec": {"template": template},
    }


def _delete(cluster: Cluster, url: str, options: dict[str, str], **query: str) -> requests.Response:
    # dryRun stands in the body: with a body the API server does not look for it in the query.
    answer: requests.Response = cluster.api.delete(
        version=NODE_POOLS.version, url=url, params=query, json={"dryRun": ["All"], **options}
    )
    return answer


@pytest.fixture(scope="module")
def guarded(api_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Json]]:
    """The policy and its binding on the server; they go again, since the server is shared."""
    built = with_component(api_cluster, "admission-policy", tmp_path_factory.mktemp("guard"))
    policies = [each for each in built if each["apiVersion"].startswith("admissionregistration")]
    yield api_cluster.apply(*policies)
    for each in policies:
        plural = {"ValidatingAdmissionPolicy": "validatingadmissionpolicies"}.get(
            each["kind"], "validatingadmissionpolicybindings"
        )
        api_cluster.api.delete(version=each["apiVersion"], url=f"{plural}/{each['metadata']['name']}")


@pytest.fixture(scope="module")
def pools(api_cluster: Cluster) -> Iterator[tuple[str, str]]:
    """One NodePool of a profile's, and one of nobody's."""
    ours, foreign = unique("guarded"), unique("foreign")
    label = {"connect-autoscaler.io/profile": "production"}
    api_cluster.apply(_pool(ours, label), _pool(foreign, {}))
    yield ours, foreign
    for name in (ours, foreign):
        api_cluster.api.delete(version=NODE_POOLS.version, url=f"nodepools/{name}").raise_for_status()


async def test_the_guard_refuses_foreground_deletion_of_our_pools_only(
    api_cluster: Cluster, guarded: list[Json], pools: tuple[str, str]
) -> None:
    assert len(guarded) == 4
    ours, foreign = pools
    foreground = {"propagationPolicy": "Foreground"}

    def refusal() -> str:
        answer = _delete(api_cluster, f"nodepools/{ours}", foreground)
        assert answer.status_code == 403
        return str(answer.json()["message"])

    # A policy acts only some moments after it was created.
    message = await eventually(refusal)
    assert f"NodePool {ours} belongs to ConnectAutoscalingProfile production" in message
    assert "--cascade=background" in message
    collection = {"labelSelector": "connect-autoscaler.io/profile=production"}
    assert _delete(api_cluster, "nodepools", foreground, **collection).status_code == 403
    assert _delete(api_cluster, f"nodepools/{foreign}", foreground).ok
    for options in ({"propagationPolicy": "Background"}, {"propagationPolicy": "Orphan"}, {}):
        assert _delete(api_cluster, f"nodepools/{ours}", options).ok
    told = api_cluster.kubectl("delete", "nodepool", ours, "--cascade=foreground", "--dry-run=server")
    assert "would remove its nodes under Posit Connect" in told.stderr
