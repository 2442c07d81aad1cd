"""Metrics with something in each of them, and how to read them."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core.metrics import Metrics, written
from connect_autoscaler.core.model import Outcome
from connect_autoscaler.core.plan import plan
from unit.builders import NOW, Json, profile, stamp
from unit.planning import patch
from unit.reporting import steady

_WORD: Final = re.compile(r"\b(?:connect_autoscaling|process)_[a-z_]+")
EARLIER: Final = stamp(NOW - timedelta(minutes=20))
ITEM: Final = {"path": "/spec/weight", "firstSeen": EARLIER, "lastSeen": EARLIER}
STATUS: Final[Json] = {
    "conditions": [
        {"type": "Ready", "status": "False", "reason": "GuaranteeBroken", "message": "no"},
        {"type": "Drifted", "status": "True", "reason": "DriftDetected", "message": "yes"},
    ],
    "nodePools": [
        {
            "name": "connect-server",
            "role": "Server",
            "ready": "True",
            "nodes": 3,
            "emptyNodes": 1,
            "outdatedNodes": 2,
            "driftedNodeClaims": 2,
            "expiringNodeClaims": 1,
            "lostNodeClaims": 0,
            "nextExpiry": EARLIER,
        }
    ],
    "release": {"namespace": "posit", "name": "connect", "manager": "Helm", "revision": 7},
    "attempt": {"id": "one", "phase": "Upgrading", "startedAt": EARLIER},
    "plan": [{"action": "Apply", "target": "NodePool/connect-server", "disruption": "ReplacesNodes"}],
    "drift": {
        "total": 3,
        "items": [
            {**ITEM, "target": "NodePool/connect-server", "action": "Deferred", "reason": "OutsideWindow"},
            {**ITEM, "target": "NodePool/connect-server", "action": "Corrected", "path": "/spec/limits"},
            {**ITEM, "target": "Release/posit/connect", "action": "Reported", "reason": "Policy"},
        ],
    },
    "checks": [{"name": "ServersOnPool", "result": "Failed", "message": "no"}],
    "limitations": [{"name": "SingleReplica", "count": 1}],
    "foreignPods": [{"namespace": "other", "name": "pod-of-others", "pool": "connect-server"}],
    "orphans": {"total": 4},
}
RELEASE: Final[Json] = {"release": {"namespace": "posit", "name": "connect"}}


def busy_profile(name: str = "production") -> Profile:
    """A profile whose status has something of everything."""
    return profile(RELEASE, name=name, status=STATUS)


def busy(*profiles: Profile) -> Metrics:
    """Metrics of which each has a sample."""
    counts = Metrics(lambda: profiles or (busy_profile(),))
    seen = steady(bend={"connect-server": patch({"weight": 6})})
    decided = plan(seen, NOW)
    counts.acted(seen, decided, Outcome(done=decided.actions), NOW, NOW + timedelta(milliseconds=4))
    counts.reconciled("uid-of-production", "success", 0.004)
    counts.requested("GET", "/api/v1/namespaces/posit/secrets", 200)
    counts.helm_called("upgrade", "Succeeded", 30)
    counts.posted("Normal", "DriftCorrected")
    return counts


def families(counts: Metrics) -> dict[str, Metric]:
    """What the registry holds, by the name in queries."""
    return {
        metric.name + ("_total" if metric.type == "counter" else ""): metric for metric in counts.registry.collect()
    }


def sample(counts: Metrics, name: str, /, **labels: str) -> float | None:
    """The value of one series; None: there is none."""
    value: float | None = counts.registry.get_sample_value(f"connect_autoscaling_{name}", labels)
    return value


async def scraped(counts: Metrics) -> dict[str, Metric]:
    """What a scrape gives, read back."""
    text = b"".join([part async for part in written(counts)]).decode()
    return {metric.name: metric for metric in text_string_to_metric_families(text)}


def exported(counts: Metrics) -> set[str]:
    """Every name that a query can use."""
    made: Iterable[Metric] = counts.registry.collect()
    return {sample.name for metric in made for sample in metric.samples}


def words(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    return set(_WORD.findall(expression))
