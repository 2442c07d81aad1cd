"""deploy/ as files: nothing is left out, ports and times fit together, samples explain themselves."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from connect_autoscaler import __version__
from harness import DEPLOY, ROOT

FOLDERS: Final = sorted({path.parent for path in DEPLOY.rglob("kustomization.yaml")} - {DEPLOY} | {ROOT / "crds"})
BASE: Final = DEPLOY / "base"


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


@pytest.fixture(scope="module")
def container() -> dict[str, Any]:
    (only,) = load(BASE / "deployment.yaml")["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_kustomization_names_every_file_beside_it(folder: Path) -> None:
    content = load(folder / "kustomization.yaml")
    named = {*content.get("resources", ()), *(each.get("path") for each in content.get("patches", ()))}
    files = {path.name for path in folder.glob("*.yaml") if "\nkind: " in path.read_text()} - {"kustomization.yaml"}
    assert files <= named
    assert all((folder / name).exists() for name in named if name)


def test_the_image_is_named_once_and_is_this_version(container: dict[str, Any]) -> None:
    assert container["image"] == f"connect-autoscaler:{__version__}"


def test_the_grace_period_is_longer_than_an_upgrades(container: dict[str, Any]) -> None:
    """What helm is given, a rollback after it (30 s), and the rest of the end."""
    env = {each["name"]: each.get("value") for each in container["env"]}
    pod = load(BASE / "deployment.yaml")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= float(env["CONNECT_AUTOSCALER_HELM_GRACE"]) + 60


def test_ports_have_one_number_each(container: dict[str, Any]) -> None:
    env = {each["name"]: each.get("value") for each in container["env"]}
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert env["CONNECT_AUTOSCALER_LIVENESS_PORT"] == str(ports["probes"])
    (metrics,) = load(BASE / "service.yaml")["spec"]["ports"]
    assert (metrics["name"], metrics["port"], metrics["targetPort"]) == ("metrics", ports["metrics"], "metrics")
    (ingress,) = load(BASE / "networkpolicy.yaml")["spec"]["ingress"]
    assert {each["port"] for each in ingress["ports"]} == ports.keys()
    assert env["CONNECT_AUTOSCALER_METRICS_PORT"] == str(ports["metrics"])


def test_selectors_choose_the_operators_pod() -> None:
    deployment = load(BASE / "deployment.yaml")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert load(BASE / "service.yaml")["spec"]["selector"] == labels
    assert load(BASE / "networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"] == labels


@pytest.mark.parametrize("sample", sorted((DEPLOY / "samples").glob("*.yaml")), ids=lambda path: path.name)
def test_samples_say_what_they_are_for(sample: Path) -> None:
    comment = sample.read_text().split("apiVersion:")[0]
    assert comment.startswith("# ")
    assert f"kubectl apply -f deploy/samples/{sample.name}" in comment


def test_auto_modes_sample_says_what_21_days_mean() -> None:
    text = (DEPLOY / "samples" / "eks-auto-mode.yaml").read_text()
    for word in ("21 days", "504h", "orphaned", "nextExpiry", "ServerNodesExpire"):
        assert word in text
