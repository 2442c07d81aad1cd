"""The reference of metrics, the dashboard and the configuration of kube-state-metrics, held against the program."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import Metric

from crd_schema import root
from unit.metrics_builders import busy, exported, families, words

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reference" / "metrics.md"
DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "deploy/dashboards/connect-autoscaler.json").read_text())
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
INTRODUCTION: Final = """# Metrics

What `/metrics` serves, on `--metrics-port`; [monitor](../how-to/monitor.md) has alerts and a dashboard. Metrics with
the label `profile` are read off its status when somebody asks, and vanish with it; counters begin at 0 with the
process.

| metric | type | labels | |
|---|---|---|---|
"""


def labels(metric: Metric) -> str:
    found = dict.fromkeys(name for each in metric.samples for name in each.labels if name != "le")
    return ", ".join(f"`{name}`" for name in found)


def metrics_page() -> str:
    """The page of all metrics, by name."""
    rows = (
        f"| `{name}` | {metric.type} | {labels(metric)} | {metric.documentation.replace('|', ' ')} |\n"
        for name, metric in sorted(families(busy()).items())
    )
    return INTRODUCTION + "".join(rows)


def test_page_of_metrics_is_what_is_served() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(metrics_page())
    assert PAGE.read_text() == metrics_page(), "UPDATE_GOLDEN=1 pytest tests/unit/test_metrics_docs.py rewrites it"


def expressions() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_panels_ask_for_what_exists_and_explain_themselves(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    for target in panel["targets"]:
        assert words(target["expr"])
        assert words(target["expr"]) <= exported(busy())
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            known = {name for metric in families(busy()).values() for s in metric.samples for name in s.labels}
            assert label in {*known, "instance"}


def test_panels_stand_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_shows_nearly_everything_that_there_is() -> None:
    shown = {word for expression in expressions() for word in words(expression)}
    for metric in families(busy()).values():
        names = {each.name for each in metric.samples}
        assert names & shown or metric.name.startswith("process_"), metric.name


@pytest.mark.debian
def test_expressions_of_the_dashboard_can_be_read(promtool: str, tmp_path: Path) -> None:
    variables = {"$__rate_interval": "5m", "$profile": ".*"}
    rules = []
    for number, text in enumerate(expressions()):
        expression = text
        for name, value in variables.items():
            expression = expression.replace(name, value)
        assert "$" not in expression
        rules.append({"record": f"panel:{number}", "expr": expression})
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kube_state_metrics_reads_fields_that_exist() -> None:
    (resource,) = yaml.safe_load((ROOT / "deploy/kube-state-metrics.yaml").read_text())["spec"]["resources"]
    assert resource["groupVersionKind"] == {
        "group": "connect-autoscaler.io",
        "version": "v1alpha1",
        "kind": "ConnectAutoscalingProfile",
    }
    (metric,) = resource["metrics"]
    assert metric["name"] == "resource_info"
    assert f"connect_autoscaling_{metric['name']}" not in exported(busy()), "both may be scraped"
    paths = metric["each"]["info"]["labelsFromPath"]
    assert paths.pop("name") == ["metadata", "name"]
    for path in paths.values():
        schema = root()
        for step in path:
            schema = schema["items"] if step.startswith("[type=") else schema["properties"][step]
        assert schema["type"] in {"string", "boolean"}
