"""What Argo CD makes of a profile, said by the script that it is given."""

import os
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from harness.argocd import SCRIPT, health

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / "deploy" / "argocd" / "argocd-cm.yaml"
KEY: Final = "resource.customizations.health.connect-autoscaler.io_ConnectAutoscalingProfile"


def profile(
    *conditions: tuple[str, str], generation: int = 2, observed: int | None = 2, suspend: bool = False
) -> dict[str, Any]:
    """A profile with conditions by type and status; the message of each is its type."""
    status: dict[str, Any] = {"conditions": [{"type": t, "status": s, "message": t} for t, s in conditions]}
    if observed is not None:
        status["observedGeneration"] = observed
    return {"metadata": {"generation": generation}, "spec": {"suspend": suspend}, "status": status}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"metadata": {"generation": 1}, "spec": {}}, "Progressing", "Waiting for the operator to see this generation"),
        (profile(observed=None), "Progressing", "Waiting for the operator to see this generation"),
        (
            profile(("Ready", "True"), generation=3),
            "Progressing",
            "Waiting for the operator to see this generation",
        ),
        (profile(("Ready", "True"), ("Drifted", "False")), "Healthy", "Ready"),
        (profile(("Ready", "True"), ("Drifted", "True")), "Healthy", "Drifted"),
        (profile(("Ready", "Unknown"), ("Reconciling", "True")), "Progressing", "Reconciling"),
        (profile(("Ready", "False"), ("Reconciling", "True")), "Progressing", "Reconciling"),
        (profile(("Ready", "False")), "Degraded", "Ready"),
        (profile(("Ready", "False"), ("Stalled", "True")), "Degraded", "Stalled"),
        (profile(("Ready", "Unknown")), "Progressing", "Ready"),
        (profile(("Ready", "True"), ("Suspended", "True"), suspend=True), "Suspended", "spec.suspend is true"),
        (profile(("Stalled", "True"), generation=3, suspend=True), "Suspended", "spec.suspend is true"),
        (profile(), "Progressing", None),
    ],
)
def test_health(body: dict[str, Any], status: str, message: str | None) -> None:
    assert health(body) == (status, message)


class _Text(str):
    """Text that YAML shows line by line."""

    __slots__ = ()


yaml.SafeDumper.add_representer(
    _Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def config() -> str:
    made = "# Made from health.lua: UPDATE_GOLDEN=1 pytest tests/unit/test_argocd_health.py\n"
    made += "#   kubectl -n argocd patch configmap argocd-cm --patch-file deploy/argocd/argocd-cm.yaml\n"
    return made + yaml.safe_dump({"data": {KEY: _Text(SCRIPT.read_text())}}, width=1000)


def test_the_patch_holds_the_script() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        CONFIG.write_text(config())
    assert CONFIG.read_text() == config(), "UPDATE_GOLDEN=1 pytest tests/unit/test_argocd_health.py rewrites it"
    assert yaml.safe_load(CONFIG.read_text())["data"][KEY] == SCRIPT.read_text()
