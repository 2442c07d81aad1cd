"""Specs to start from, and ways to change them."""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

Spec = dict[str, Any]

NODE_CLASS: Spec = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}
SMALLEST: Spec = {"nodeClassRef": NODE_CLASS}


def _pool(name: str, **more: Any) -> Spec:
    return {
        "name": name,
        "management": "Managed",
        "nodeClassRef": {**NODE_CLASS, "name": "other"},
        "requirements": [
            {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["m7i", "r7i"], "minValues": 2}
        ],
        "disruption": {
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": "1h30m",
            "budgets": [
                {"nodes": "10%", "reasons": ["Empty"], "schedule": "0 9 * * MON-FRI", "duration": "8h"},
                {"nodes": "0", "reasons": ["Underutilized", "Drifted", "Unhealthy"]},
            ],
        },
        "expireAfter": "720h",
        "deletionProtection": True,
        "labels": {"example.com/team": "data"},
        "annotations": {"karpenter.sh/do-not-repair": "true"},
        "taints": [{"key": "example.com/gpu", "value": "yes", "effect": "NoSchedule"}],
        "startupTaints": [{"key": "example.com/agent", "value": "starting", "effect": "NoExecute"}],
        "limits": {"cpu": "64", "nodes": 4},
        "weight": 10,
        **more,
    }


def _spread(key: str) -> list[Spec]:
    return [{"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway"}]


FULL: Spec = {
    "mode": "Enforce",
    "suspend": False,
    "interval": "5m",
    "nodeClassRef": NODE_CLASS,
    "placement": {"labelKey": "example.com/workload", "server": "connect-server", "content": "connect-content"},
    "serverPool": _pool("servers"),
    "contentPool": _pool("content", terminationGracePeriod="4h"),
    "additionalContentPools": [_pool("gpu", terminationGracePeriod="4h")],
    "server": {"topologySpread": _spread("topology.kubernetes.io/zone")},
    "content": {"renderedDoNotDisrupt": "4h", "topologySpread": _spread("kubernetes.io/hostname")},
    "release": {
        "namespace": "posit",
        "name": "connect",
        "manager": "Helm",
        "chart": {"repository": "https://charts.example.com/posit", "secretName": "charts"},
        "serviceAccountName": "connect-upgrades",
        "timeout": "15m",
        "onConflict": "Fail",
    },
    "disruptions": {
        "when": "WhenIdle",
        "windows": [{"schedule": "0 3 * * 6", "duration": "4h", "timeZone": "Europe/Berlin"}],
        "maxCorrectionsPerDay": 2,
    },
    "driftPolicy": {
        "nodePools": "Correct",
        "release": "Warn",
        "ignore": [
            {"target": {"kind": "NodePool", "name": "servers"}, "paths": ["/spec/weight"], "managers": ["kubectl-edit"]}
        ],
    },
    "takeOver": "Never",
    "deletionPolicy": {"nodePools": "Retain", "release": "Keep"},
    "connectAPI": {"secretName": "connect-api"},
    "recovery": {"orphanedJobs": "Report", "maxPerHour": 10},
}
"""Every field that can stand beside the others: not chart.oci, chart.path, nor the server's terminationGracePeriod."""


def profile(spec: Mapping[str, Any], name: str = "example") -> dict[str, Any]:
    """Return an object with this spec."""
    return {
        "apiVersion": "connect-autoscaler.io/v1alpha1",
        "kind": "ConnectAutoscalingProfile",
        "metadata": {"name": name},
        "spec": dict(spec),
    }


def merged(spec: Any, patch: Any) -> Any:
    """Return the spec with a patch laid over it: maps are merged, everything else is replaced."""
    if not (isinstance(spec, dict) and isinstance(patch, dict)):
        return copy.deepcopy(patch)
    return {
        key: merged(spec.get(key), patch[key]) if key in patch else copy.deepcopy(spec[key]) for key in spec | patch
    }


def on(pool: str, patch: Any) -> Spec:
    """Return the patch of a spec that is this patch of one of its pools, named as in the CRD."""
    if pool == "additionalContentPools[]":
        return {"additionalContentPools": [{"name": "gpu", **patch}]}
    return {pool: patch}


def with_value(spec: Spec, path: str, value: Any) -> Spec:
    """Return the spec with one value changed: the first entry of lists and maps on the way is meant.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: If the spec has nothing there to descend into.
    """
    result = copy.deepcopy(spec)
    at: Any = result
    *above, last = _steps(path, result)
    for step in above:
        at = at[step]
    at[last] = value
    return result


def _steps(path: str, spec: Any) -> Iterator[str | int]:
    at = spec
    for part in re.findall(r"[^.\[\]{}]+|\[\]|\{\}", path):
        step = 0 if part == "[]" else min(at) if part == "{}" else part
        yield step
        at = at.get(step) if isinstance(at, dict) else at[step]
