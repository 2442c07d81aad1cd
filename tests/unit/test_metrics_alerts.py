"""Alerts: that they fire when they should and only then, said by promtool; and, everywhere, that they hang together."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from unit.metrics_builders import busy, exported, words

ROOT: Final = Path(__file__).parents[2]
MONITORING: Final = ROOT / "deploy" / "components" / "monitoring"
RULES: Final = MONITORING / "rules.yaml"
OBJECT: Final = MONITORING / "prometheus-rule.yaml"
ALERTS: Final[list[dict[str, Any]]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
PREFIX: Final = "connect_autoscaling_"
PRODUCTION: Final = {"profile": "production"}


@dataclass(frozen=True)
class Case:
    """What Prometheus sees minute by minute, and whether an alert fires then.

    Attributes:
        alert: Its name, without the prefix.
        series: Values by series, in promtool's notation.
        at: When to look.
        fires: The labels of the alert beside its severity; None: it does not fire.
        summary: The text of the alert.
    """

    alert: str
    series: dict[str, str]
    at: str
    fires: dict[str, str] | None = None
    summary: str = ""
    severity: str = field(default="warning", kw_only=True)

    @property
    def name(self) -> str:
        return f"ConnectAutoscaling{self.alert}"

    def told(self) -> dict[str, Any]:
        """The case in promtool's words."""
        expected = {
            "exp_labels": {**(self.fires or {}), "severity": self.severity},
            "exp_annotations": {"summary": self.summary, "runbook_url": f"docs/runbooks/{self.name}.md"},
        }
        return {
            "interval": "1m",
            "input_series": [{"series": PREFIX + name, "values": values} for name, values in self.series.items()],
            "alert_rule_test": [
                {
                    "eval_time": self.at,
                    "alertname": self.name,
                    "exp_alerts": [] if self.fires is None else [expected],
                }
            ],
        }


def condition(kind: str, status: str) -> str:
    return f'condition{{profile="production",type="{kind}",status="{status}"}}'


def reason(kind: str, text: str) -> str:
    return f'condition_reason{{profile="production",type="{kind}",reason="{text}"}}'


def deferred(text: str) -> dict[str, str]:
    return {
        'drift_first_seen_timestamp_seconds{profile="production",target_kind="NodePool",action="Deferred"}': "0x60",
        f'heal_deferred{{profile="production",reason="{text}"}}': "1x60",
    }


FOR_PRODUCTION: Final = {**PRODUCTION, "type": "Ready", "status": "False"}
SUCCESS: Final = 'last_success_timestamp_seconds{profile="production"}'
INTERVAL: Final = {'profile_interval_seconds{profile="production"}': "300x60"}
RESTARTS: Final = 'server_restarts_caused_total{profile="production",cause="%s"}'
UPGRADES: Final = 'helm_operations_total{operation="upgrade",result="%s"}'
EXPIRY: Final = 'pool_next_expiry_timestamp_seconds{profile="production",pool="connect-%s",role="%s"}'
CASES: Final = (
    Case(
        "GuaranteeBroken",
        {reason("Ready", "GuaranteeBroken"): "1x5"},
        "0m",
        PRODUCTION,
        "The protection of the Connect servers of profile production is broken and not being mended",
        severity="critical",
    ),
    Case("GuaranteeBroken", {reason("Ready", "InSync"): "1x5"}, "5m"),
    Case("GuaranteeBroken", {reason("Ready", "GuaranteeBroken"): "1x5 stale"}, "6m"),
    Case(
        "OperatorDown",
        {'is_leader{pod="standby"}': "0x10"},
        "6m",
        {},
        "No replica of connect-autoscaler works; nothing is put back any more",
        severity="critical",
    ),
    Case("OperatorDown", {'is_leader{pod="standby"}': "0x10", 'is_leader{pod="leader"}': "1x10"}, "10m"),
    Case(
        "SeveralLeaders",
        {'is_leader{pod="one"}': "1x20", 'is_leader{pod="two"}': "1x20"},
        "15m",
        {},
        "2 copies of connect-autoscaler write at the same time",
        severity="critical",
    ),
    Case("SeveralLeaders", {'is_leader{pod="one"}': "1x5 stale", 'is_leader{pod="two"}': "0x5 1x20"}, "25m"),
    Case(
        "NoSuccess",
        {SUCCESS: "0x60", **INTERVAL},
        "21m",
        PRODUCTION,
        "No pass over profile production has succeeded for three intervals",
    ),
    Case("NoSuccess", {SUCCESS: "0+300x60", **INTERVAL}, "40m"),
    Case("NoSuccess", {SUCCESS: "0x60", **INTERVAL}, "14m"),
    Case("NotReady", {condition("Ready", "False"): "1x60"}, "31m", FOR_PRODUCTION, "Profile production is not Ready"),
    Case("NotReady", {condition("Ready", "False"): "1x20 0x40"}, "50m"),
    Case(
        "DriftOpen",
        deferred("Forbidden"),
        "16m",
        PRODUCTION,
        "A difference of profile production should have been corrected 16m 0s ago",
    ),
    Case("DriftOpen", deferred("Forbidden"), "14m"),
    Case("DriftOpen", deferred("AwaitingApproval"), "50m"),
    Case("DriftOpen", deferred("SuspendRequested"), "50m"),
    Case(
        "Fighting",
        {condition("Fighting", "True"): "1x20"},
        "6m",
        {**PRODUCTION, "type": "Fighting", "status": "True"},
        "Somebody reverts corrections of profile production again and again",
    ),
    Case("Fighting", {condition("Fighting", "True"): "1x3 stale"}, "10m"),
    Case(
        "ReleasePending",
        {reason("ReleaseConfigured", "PendingRelease"): "1x60"},
        "31m",
        PRODUCTION,
        "A Helm operation holds the release of profile production for more than 30 minutes",
    ),
    Case("ReleasePending", {reason("ReleaseConfigured", "PendingRelease"): "1x10 stale"}, "40m"),
    Case(
        "UpgradeFailing",
        {UPGRADES % "RolledBack": "0x5 1x60"},
        "20m",
        {},
        "A helm upgrade of a Connect release has failed within the last hour",
    ),
    Case("UpgradeFailing", {UPGRADES % "Succeeded": "0x5 1x60", UPGRADES % "Cancelled": "0x5 1x60"}, "20m"),
    Case(
        "HealCausedRestarts",
        {RESTARTS % "correction": "0x10 1x10 2x60"},
        "45m",
        PRODUCTION,
        "Corrections have restarted the Connect servers of profile production more than once within an hour",
    ),
    Case("HealCausedRestarts", {RESTARTS % "correction": "0x60 1x60"}, "90m"),
    Case("HealCausedRestarts", {RESTARTS % "change": "0x10 1x10 2x60"}, "45m"),
    Case(
        "PlacementBroken",
        {condition("PlacementVerified", "False"): "1x60"},
        "11m",
        {**PRODUCTION, "type": "PlacementVerified", "status": "False"},
        "Connect pods of profile production do not run where they are protected",
    ),
    Case("PlacementBroken", {condition("PlacementVerified", "True"): "1x60"}, "11m"),
    Case(
        "NodeClaimsLost",
        {'nodeclaims_lost{profile="production",pool="connect-server",role="Server"}': "2x10"},
        "1m",
        {**PRODUCTION, "pool": "connect-server"},
        "2 nodes of NodePool connect-server go together with their deleted NodePool",
    ),
    Case("NodeClaimsLost", {'nodeclaims_lost{profile="production",pool="connect-server",role="Server"}': "0x10"}, "1m"),
    Case(
        "ServerNodeExpires",
        {EXPIRY % ("server", "Server"): "7200x60"},
        "60m",
        {**PRODUCTION, "pool": "connect-server", "role": "Server"},
        "A node of server pool connect-server expires within 1h 0m 0s",
    ),
    Case("ServerNodeExpires", {EXPIRY % ("server", "Server"): "172800x60"}, "60m"),
    Case("ServerNodeExpires", {EXPIRY % ("content", "Content"): "7200x60"}, "60m"),
    Case(
        "OrphanedJobs",
        {'orphaned_jobs{profile="production"}': "3x60"},
        "31m",
        PRODUCTION,
        "3 content jobs of profile production have lost their server",
        severity="info",
    ),
    Case("OrphanedJobs", {'orphaned_jobs{profile="production"}': "3x20 0x40"}, "50m"),
)


def ran(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.debian
def test_alerts_fire_when_they_should_and_only_then(promtool: str, tmp_path: Path) -> None:
    tests = tmp_path / "tests.yaml"
    tests.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [case.told() for case in CASES]}))
    ran(promtool, "check", "rules", RULES)
    ran(promtool, "test", "rules", tests)


def test_every_alert_is_tried_both_ways() -> None:
    names = {alert["alert"] for alert in ALERTS}
    assert {case.name for case in CASES if case.fires is not None} == names
    assert {case.name for case in CASES if case.fires is None} == names


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_alerts_ask_for_what_exists_and_lead_to_a_page(alert: dict[str, Any]) -> None:
    assert words(alert["expr"]) <= exported(busy())
    assert words(alert["expr"])
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["annotations"]["summary"]
    page = ROOT / alert["annotations"]["runbook_url"]
    assert page == ROOT / "docs" / "runbooks" / f"{alert['alert']}.md"
    text = page.read_text()
    assert text.startswith(f"# {alert['alert']}\n\n*{alert['labels']['severity']}*: ")
    for heading in ("## What it means", "## Look", "## Do"):
        assert f"\n{heading}\n" in text


def test_every_page_is_an_alert_s_and_all_are_listed() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert pages == {alert["alert"] for alert in ALERTS}
    listed = (ROOT / "docs" / "how-to" / "monitor.md").read_text()
    for alert in ALERTS:
        row = f"[{alert['alert'].removeprefix('ConnectAutoscaling')}](../runbooks/{alert['alert']}.md)"
        assert f"| {row} | {alert['labels']['severity']} |" in listed


def prometheus_rule() -> str:
    """The rules as an object of the Prometheus operator."""
    name = "connect-autoscaler"
    metadata = {"name": name, "namespace": name, "labels": {"app.kubernetes.io/name": name}}
    body = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": yaml.safe_load(RULES.read_text()),
    }
    made = "# Made from rules.yaml: UPDATE_GOLDEN=1 pytest tests/unit/test_metrics_alerts.py\n"
    return made + yaml.safe_dump(body, sort_keys=False, width=1000)


def test_the_object_holds_the_rules() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        OBJECT.write_text(prometheus_rule())
    assert OBJECT.read_text() == prometheus_rule(), (
        "UPDATE_GOLDEN=1 pytest tests/unit/test_metrics_alerts.py rewrites it"
    )
