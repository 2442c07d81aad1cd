"""Whether the nodes of a pool can be what the release selects.

Only what is certain counts: labels that a cloud provider gives its nodes are not known here.
Source: ``k8s.io/component-helpers/scheduling/corev1/nodeaffinity`` and Karpenter's ``pkg/scheduling/requirements.go``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from connect_autoscaler.api.names import LABEL_NODEPOOL
from connect_autoscaler.release.values import get

_REQUIRED: Final = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
_WELL_KNOWN: Final = (
    "kubernetes.io",
    "k8s.io",
    "karpenter.sh",
    "amazonaws.com",
    "k8s.aws",
    "azure.com",
    "gcp",
    "kwok.sh",
)


def contradictions(pool: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    """What of a pod's node selection no node of a pool can meet, one phrase each.

    Args:
        pool: A NodePool, rendered or live.
        pod: A pod spec.
    """
    labels, requirements = _offers(pool)
    for key, value in (pod.get("nodeSelector") or {}).items():
        if not _possible(labels, requirements, {"key": key, "operator": "In", "values": [str(value)]}):
            yield f"nodeSelector {key}={value}"
    terms = _maps(get(pod, _REQUIRED))
    unmet = [
        next((e for e in _maps(term.get("matchExpressions")) if not _possible(labels, requirements, e)), None)
        for term in terms
    ]
    if terms and all(unmet):
        yield "pod.affinity.nodeAffinity: " + "; ".join(
            " ".join((str(e.get("key")), str(e.get("operator")), ",".join(map(str, e.get("values") or ())))).strip()
            for e in unmet
            if e
        )


def _maps(value: Any) -> list[Mapping[str, Any]]:
    """The maps of a list. Nobody checks a job base before its first job, so anything may stand there."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _offers(pool: Mapping[str, Any]) -> tuple[dict[str, str], list[Mapping[str, Any]]]:
    template = get(pool, ("spec", "template")) or {}
    labels = {**(get(template, ("metadata", "labels")) or {}), LABEL_NODEPOOL: pool["metadata"]["name"]}
    return labels, get(template, ("spec", "requirements")) or []


def _possible(labels: Mapping[str, str], requirements: list[Mapping[str, Any]], wanted: Mapping[str, Any]) -> bool:
    key, operator, values = wanted.get("key", ""), wanted.get("operator"), set(map(str, wanted.get("values") or ()))
    offered = {labels[key]} if key in labels else _choice(requirements, key)
    if offered is None:
        known = any(requirement["key"] == key for requirement in requirements)
        return known or _foreign(key) or operator in {"NotIn", "DoesNotExist"}
    match operator:
        case "In":
            return bool(offered & values)
        case "NotIn":
            return bool(offered - values)
        case "DoesNotExist":
            return False
        case _:
            return True


def _choice(requirements: list[Mapping[str, Any]], key: str) -> set[str] | None:
    """The values that requirements leave; None: they do not say."""
    found = [set(r.get("values") or ()) for r in requirements if r["key"] == key and r["operator"] == "In"]
    return set.intersection(*found) if found else None


def _foreign(key: str) -> bool:
    """Whether a label may be given by Kubernetes, Karpenter or the cloud provider."""
    domain = key.partition("/")[0] if "/" in key else ""
    return any(domain == known or domain.endswith("." + known) for known in _WELL_KNOWN)
