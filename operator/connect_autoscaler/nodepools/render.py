"""From a profile to its NodePools. Pure: the same profile and Karpenter give the same bytes."""

from collections.abc import Iterator
from typing import Any, Final

from connect_autoscaler.api.fields import Model
from connect_autoscaler.api.names import (
    ANNOTATION_PROFILE_UID,
    FIELD_MANAGER,
    FINALIZER_PROTECT,
    KARPENTER_API_VERSION,
    LABEL_ARCH,
    LABEL_CAPACITY_TYPE,
    LABEL_MANAGED_BY,
    LABEL_OS,
    LABEL_PROFILE,
)
from connect_autoscaler.api.pools import Role
from connect_autoscaler.api.profile import Pool, Profile
from connect_autoscaler.nodepools.claims import normalized, satisfied
from connect_autoscaler.nodepools.karpenter import Karpenter

BASE_REQUIREMENTS: Final = {
    LABEL_CAPACITY_TYPE: "on-demand",
    LABEL_ARCH: "amd64",
    LABEL_OS: "linux",
}
"""Nodes that Connect can rely on: no spot interruptions, and the only architecture of its Pro Drivers."""


def render(profile: Profile, pool: Pool, karpenter: Karpenter) -> dict[str, Any]:
    """Write the NodePool (``karpenter.sh/v1``) that the profile asks for.

    Args:
        profile: Owner; its name and uid become the ownership marks.
        pool: One of ``profile.pools``.
        karpenter: The installed Karpenter; decides which budget reasons exist.
    """
    spec = pool.spec
    metadata: dict[str, Any] = {
        "name": pool.name,
        "labels": {LABEL_MANAGED_BY: FIELD_MANAGER, LABEL_PROFILE: profile.name},
        "annotations": {ANNOTATION_PROFILE_UID: profile.uid},
    }
    if spec.deletion_protection:
        metadata["finalizers"] = [FINALIZER_PROTECT]
    key, value = pool.label
    template = {
        "metadata": _present(labels={key: value, **spec.labels}, annotations=spec.annotations),
        "spec": _present(
            requirements=requirements(pool),
            nodeClassRef=_dump(pool.node_class),
            taints=_taints(pool),
            startupTaints=[_dump(taint) for taint in spec.startup_taints],
            expireAfter=spec.expire_after,
            terminationGracePeriod=spec.termination_grace_period,
        ),
    }
    return {
        "apiVersion": KARPENTER_API_VERSION,
        "kind": "NodePool",
        "metadata": metadata,
        "spec": _present(
            template=template,
            disruption={
                "consolidationPolicy": spec.disruption.consolidation_policy.value,
                "consolidateAfter": spec.disruption.consolidate_after,
                "budgets": _budgets(pool, karpenter),
            },
            limits=dict(spec.limits),
            weight=spec.weight,
        ),
    }


def requirements(pool: Pool) -> list[dict[str, Any]]:
    """The base, ANDed with the pool's own; an entry with a base key replaces it."""
    own = [_dump(requirement) for requirement in pool.spec.requirements]
    replaced = {normalized(requirement["key"]) for requirement in own}
    base = [
        {"key": key, "operator": "In", "values": [value]}
        for key, value in BASE_REQUIREMENTS.items()
        if key not in replaced
    ]
    return [*base, *own]


def unknown_features(pool: Pool, karpenter: Karpenter) -> Iterator[str]:
    """Say, one sentence each, what the pool uses that the installed Karpenter does not know."""
    disruption = pool.spec.disruption
    if (policy := disruption.consolidation_policy) not in karpenter.consolidation_policies:
        yield _unknown(pool, "disruption.consolidationPolicy", policy, karpenter.consolidation_policies)
    for budget in disruption.budgets or ():
        for reason in budget.reasons or ():
            if reason not in karpenter.budget_reasons:
                yield _unknown(pool, "disruption.budgets[].reasons", reason, karpenter.budget_reasons)
    for requirement in pool.spec.requirements:
        if requirement.operator not in karpenter.operators:
            yield _unknown(pool, "requirements[].operator", requirement.operator, karpenter.operators)


def contradictions(pool: Pool) -> Iterator[str]:
    """Say, one sentence a key, which requirements (labels are requirements too) no node can meet together."""
    by_key: dict[str, list[dict[str, Any]]] = {}
    for requirement in (*requirements(pool), *_labels(pool)):
        by_key.setdefault(normalized(requirement["key"]), []).append(requirement)
    for key, group in by_key.items():
        if not _satisfiable(key, group):
            rules = " and ".join(f"{r['operator']} {','.join(r.get('values', []))}".strip() for r in group)
            yield f"NodePool {pool.name}: no node can meet the requirements on {key} ({rules}); drop one of them"


def _labels(pool: Pool) -> Iterator[dict[str, Any]]:
    return ({"key": key, "operator": "In", "values": [value]} for key, value in pool.spec.labels.items())


def _satisfiable(key: str, group: list[dict[str, Any]]) -> bool:
    """Try the values at which the answer can change: every one named, its neighbours, another, and none."""
    named = [value for r in group for value in r.get("values", ())]
    numbers = [str(int(v) + step) for v in named if v.isdigit() for step in (-1, 1) if int(v) + step >= 0]
    candidates: list[dict[str, str]] = [{key: value} for value in (*named, *numbers, "any other value")]
    # Every node has an architecture, a system and a capacity type.
    without: list[dict[str, str]] = [] if key in BASE_REQUIREMENTS else [{}]
    return any(all(satisfied(r, labels) for r in group) for labels in (*candidates, *without))


def _budgets(pool: Pool, karpenter: Karpenter) -> list[dict[str, Any]]:
    if pool.spec.disruption.budgets is not None:
        return [_dump(budget) for budget in pool.spec.disruption.budgets]
    if pool.role is Role.CONTENT:
        return [{"nodes": "10%"}]
    kept = [r for r in ("Underutilized", "Drifted", "Unhealthy") if r in karpenter.budget_reasons]
    return [{"nodes": "0", "reasons": kept}, {"nodes": "1", "reasons": ["Empty"]}]


def _taints(pool: Pool) -> list[dict[str, Any]]:
    key, value = pool.label
    own = [{"key": key, "value": value, "effect": "NoSchedule"}] if pool.role is Role.SERVER else []
    return [*own, *(_dump(taint) for taint in pool.spec.taints)]


def _dump(model: Model) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


def _unknown(pool: Pool, field: str, value: str, known: frozenset[str]) -> str:
    return (
        f"NodePool {pool.name}: the installed Karpenter does not know {field}: {value}; "
        f"must be one of {', '.join(sorted(known))}, or upgrade Karpenter"
    )
