"""Releases that others write: the overlay is published for them, and helm is never run."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harness import Operator, Profile, Release, Workspace
from harness.releases import SERVER, SMALLEST, chart, release_options
from sandbox import Cluster, eventually
from sandbox.apply import documents


@pytest.fixture(scope="module")
async def operator(release_cluster: Cluster) -> AsyncIterator[Operator]:
    # Any call of helm would fail, and be seen in status.
    async with Operator(release_cluster, *release_options(release_cluster, Path("/nonexistent/helm"))) as running:
        yield running


async def test_the_pipeline_takes_the_export(operator: Operator) -> None:
    values = {"tolerations": [{"key": "mine", "operator": "Exists"}]}
    async with Workspace(operator.cluster) as workspace, Release(operator.cluster, values) as release:
        profile = workspace.profile(release={**release.reference, "manager": "Export"})
        await profile.condition_is("ReleaseConfigured", "False", "OverlayExported", seconds=60)
        published = exported(release, profile)
        assert [each["key"] for each in published["tolerations"]] == ["mine", "workload"]
        assert len(release.revisions()) == 1
        await release.helm("upgrade", "--reset-values", values={**SMALLEST, **published})
        await profile.ready(seconds=60)
        release.api.delete(release.kind("configmaps"), f"{profile.name}-values")
        assert await eventually(lambda: exported(release, profile), timeout=10) == published


async def test_flux_is_recognised_and_told_what_to_add(operator: Operator) -> None:
    async with Workspace(operator.cluster) as workspace, Release(operator.cluster) as release:
        marks = {"helm.toolkit.fluxcd.io/name": "connect", "helm.toolkit.fluxcd.io/namespace": release.namespace}
        release.api.merge(
            release.kind("deployments"), SERVER, {"metadata": {"labels": marks}}, manager="helm-controller"
        )
        profile = workspace.profile(release=release.reference)
        await profile.condition_is("ReleaseConfigured", "False", "OverlayExported", seconds=60)
        condition = profile.condition("ReleaseConfigured")
        assert condition is not None
        assert f"{{kind: ConfigMap, name: {profile.name}-values, optional: true}}" in condition["message"]
        body = release.api.get(release.kind("configmaps"), f"{profile.name}-values")
        assert body["metadata"]["labels"]["reconcile.fluxcd.io/watch"] == "Enabled"
        assert profile.status["release"]["manager"] == "Flux"


async def test_argo_cd_is_measured_on_its_live_objects(operator: Operator) -> None:
    async with Workspace(operator.cluster) as workspace, Release(operator.cluster) as release:
        manifest = release.manifest()
        await release.helm("uninstall", values=None)
        await argo(release, manifest)
        profile = workspace.profile(release=release.reference)
        await profile.condition_is("ReleaseConfigured", "False", "OverlayExported", seconds=60)
        assert profile.status["release"]["manager"] == "ArgoCD"
        overlay = exported(release, profile)
        text = json.dumps({**SMALLEST, **overlay})
        arguments = ("--namespace", release.namespace, "--values", "-")
        rendered = operator.cluster.helm("template", "connect", chart(), *arguments, input=text)
        await argo(release, list(documents(rendered.stdout)))
        await profile.ready(seconds=60)


async def argo(release: Release, manifest: list[dict[str, Any]]) -> None:
    """Sync as Argo CD does: apply what `helm template` gave, and track it."""
    for body in manifest:
        if body["kind"] == "Deployment":
            tracking = f"connect:apps/Deployment:{release.namespace}/{SERVER}"
            body["metadata"].setdefault("annotations", {})["argocd.argoproj.io/tracking-id"] = tracking
        body["metadata"]["namespace"] = release.namespace
        release.cluster.apply(body, field_manager="argocd-controller")


def exported(release: Release, profile: Profile) -> dict[str, Any]:
    """Return the published overlay."""
    body = release.api.get(release.kind("configmaps"), f"{profile.name}-values")
    return dict(json.loads(body["data"]["values.yaml"]))
