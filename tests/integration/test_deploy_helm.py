"""The Helm chart of the operator: it says what kustomize says, and the real helm installs, upgrades and removes it."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from harness import DEPLOY, NAMESPACE, PROFILES, Json, kustomize, unique
from harness.api import Api, Kind
from integration.deploying import PROMETHEUS_OPERATOR
from profile_specs import SMALLEST
from profile_specs import profile as profile_object
from sandbox import Cluster, Parts, cluster, eventually
from sandbox.apply import documents

CHART: Final = DEPLOY / "helm" / "connect-autoscaler"
OVERLAYS: Final = DEPLOY / "overlays"
KEEP: Final = "helm.sh/resource-policy"
CRD: Final = "connectautoscalingprofiles.connect-autoscaler.io"
CRDS: Final = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions")
ON: Final = {"enabled": True}
PRODUCTION: Final = {"highAvailability": ON, "admissionPolicy": ON, "monitoring": ON}


@pytest.fixture(scope="module")
async def own_cluster() -> AsyncIterator[Cluster]:
    """Helm refuses what it did not install, so nobody else may have."""
    async with cluster(parts=Parts.API, karpenter=None) as it:
        it.apply(*PROMETHEUS_OPERATOR)
        yield it


def helm(where: Cluster, *arguments: str | Path, values: Any = None) -> str:
    with_values = ["--values", "-"] if values is not None else []
    text = json.dumps(values) if values is not None else None
    done = where.helm(*arguments, "--namespace", NAMESPACE, *with_values, input=text)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(where: Cluster, values: Json) -> dict[tuple[str, str, str], Json]:
    return by_name(list(documents(helm(where, "template", "operator", CHART, values=values))))


def by_name(objects: list[Json]) -> dict[tuple[str, str, str], Json]:
    """Index objects; the chart makes no namespace, and marks the resource as one that is kept."""
    result = {}
    for each in objects:
        if each["kind"] == "CustomResourceDefinition":
            each["metadata"].pop("annotations", None)
        if each["kind"] != "Namespace":
            key = each["kind"], each["metadata"]["name"], each["metadata"].get("namespace", "")
            assert key not in result, key
            result[key] = each
    return result


@pytest.mark.parametrize(
    ("values", "directories"),
    [
        ({}, [DEPLOY]),
        ({"enforcement": {"enabled": False}}, [OVERLAYS / "observe-only"]),
        (PRODUCTION, [OVERLAYS / "production"]),
        ({"releaseNamespaces": ["posit"]}, [DEPLOY, DEPLOY / "release"]),
        ({"contentNamespaces": ["posit-content"]}, [DEPLOY, DEPLOY / "content"]),
    ],
    ids=["default", "observe-only", "production", "release", "content"],
)
def test_it_says_what_kustomize_says(own_cluster: Cluster, values: Json, directories: list[Path]) -> None:
    wanted = by_name([each for directory in directories for each in kustomize(own_cluster, directory)])
    found = rendered(own_cluster, values)
    assert found.keys() == wanted.keys()
    for key, body in wanted.items():
        assert found[key] == body, key


def test_values_reach_the_pod(own_cluster: Cluster) -> None:
    digest = f"sha256:{'a' * 64}"
    values = {
        "image": {"repository": "registry.example.com/connect-autoscaler", "digest": digest},
        "imagePullSecrets": [{"name": "registry"}],
        "env": [{"name": "CONNECT_AUTOSCALER_CHART_SOURCES", "value": "https://charts.example.com"}],
        "podAnnotations": {"example.com/note": "yes"},
        "resources": {"limits": {"memory": "1Gi"}},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "networkPolicy": {"enabled": False},
    }
    found = rendered(own_cluster, values)
    plain = rendered(own_cluster, {})
    assert plain.keys() - found.keys() == {("NetworkPolicy", "connect-autoscaler", NAMESPACE)}
    key = ("Deployment", "connect-autoscaler", NAMESPACE)
    template, before = found[key]["spec"]["template"], plain[key]["spec"]["template"]["spec"]
    pod = template["spec"]
    (container,) = pod["containers"]
    assert container["image"] == f"registry.example.com/connect-autoscaler@{digest}"
    assert container["env"] == [*before["containers"][0]["env"], *values["env"]]
    assert container["resources"]["limits"] == {**before["containers"][0]["resources"]["limits"], "memory": "1Gi"}
    assert pod["nodeSelector"] == {**before["nodeSelector"], "pool": "system"}
    assert pod["tolerations"] == [*before["tolerations"], *values["tolerations"]]
    for name in ("affinity", "imagePullSecrets", "priorityClassName"):
        assert pod[name] == values[name]
    assert template["metadata"]["annotations"] == values["podAnnotations"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replicas": 2}, "replicas"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"releaseNamespaces": ["Posit"]}, "releaseNamespaces"),
    ],
)
def test_wrong_values_are_refused(own_cluster: Cluster, values: Json, complaint: str) -> None:
    done = own_cluster.helm("template", "operator", CHART, "--values", "-", input=json.dumps(values))
    assert done.returncode != 0
    assert complaint in done.stderr


def test_lint(own_cluster: Cluster) -> None:
    assert "0 chart(s) failed" in helm(own_cluster, "lint", "--strict", CHART)


async def test_its_life_on_a_cluster(own_cluster: Cluster, tmp_path: Path) -> None:
    """Install, upgrade with a newer resource, uninstall; profiles outlive it."""
    api, name = Api(own_cluster.api), unique()
    helm(own_cluster, "install", "operator", CHART, "--create-namespace", values=PRODUCTION)
    crd = api.get(CRDS, CRD)
    assert crd["metadata"]["annotations"][KEEP] == "keep"
    api.create(PROFILES, profile_object(SMALLEST, name))

    newer = tmp_path / "connect-autoscaler"
    shutil.copytree(CHART, newer)
    (copy,) = (newer / "files" / "crds").iterdir()
    copy.write_text(
        copy.read_text().replace("Protects Posit Connect on", "Newer than newest, protects Posit Connect on")
    )
    assert "Newer" not in json.dumps(crd["spec"])
    helm(own_cluster, "upgrade", "operator", newer, values=PRODUCTION)
    assert "Newer than newest" in json.dumps(api.get(CRDS, CRD)["spec"])

    helm(own_cluster, "uninstall", "operator")
    deployments = Kind("apps/v1", "deployments", NAMESPACE)
    assert api.find(deployments, "connect-autoscaler") is None
    assert api.find(PROFILES, name) is not None
    assert "deletionTimestamp" not in api.get(CRDS, CRD)["metadata"]

    helm(own_cluster, "install", "operator", CHART, values={})  # finds the resource that was kept
    helm(own_cluster, "upgrade", "operator", CHART, values={"crds": {"keep": False}})
    helm(own_cluster, "uninstall", "operator")
    await eventually(lambda: api.find(PROFILES, name) is None)


def test_objects_go_where_the_release_is(own_cluster: Cluster) -> None:
    text = own_cluster.helm("template", "operator", CHART, "--namespace", "elsewhere").stdout
    found = list(documents(text))
    assert {each["metadata"].get("namespace", "") for each in found} == {"", "default", "elsewhere"}
    subjects = [subject for each in found for subject in each.get("subjects", ())]
    assert subjects
    assert {subject["namespace"] for subject in subjects} == {"elsewhere"}
