"""What the installed NodePool CRD can do, read from its schema.

The CRD is the only reliable witness of Karpenter's version: images may be built without one
(``karpenter_build_info`` then says ``unspecified``), and providers ship the core under numbers of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Karpenter:
    """Abilities of the installed Karpenter, as far as the operator depends on them."""

    operators: frozenset[str]
    """Operators allowed in ``requirements`` (Gte and Lte from 1.9)."""
    consolidation_policies: frozenset[str]
    """Values of ``consolidationPolicy`` (Balanced from 1.14)."""
    budget_reasons: frozenset[str]
    """Values of ``budgets[].reasons`` (Unhealthy from 1.15)."""
    atomic_labels: bool
    """Whether template labels are one atomic map for server-side apply (from 1.13)."""

    @classmethod
    def from_crd(cls, crd: Mapping[str, Any]) -> Self:
        """Read the abilities from the CRD ``nodepools.karpenter.sh``.

        Source of the marks: ``pkg/apis/crds/karpenter.sh_nodepools.yaml`` of each version.
        """
        schema: Mapping[str, Any] = next(
            (v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == "v1" and v["served"]), {}
        )
        return cls(
            operators=_enum(schema, "spec.template.spec.requirements[].operator"),
            consolidation_policies=_enum(schema, "spec.disruption.consolidationPolicy"),
            budget_reasons=_enum(schema, "spec.disruption.budgets[].reasons[]"),
            atomic_labels=_at(schema, "spec.template.metadata.labels").get("x-kubernetes-map-type") == "atomic",
        )

    @property
    def supported(self) -> bool:
        """Whether this is Karpenter 1.13 or newer, the oldest that the operator is tested with."""
        return self.atomic_labels


def _at(schema: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    for part in path.replace("[]", ".[]").split("."):
        schema = schema.get("items", {}) if part == "[]" else schema.get("properties", {}).get(part, {})
    return schema


def _enum(schema: Mapping[str, Any], path: str) -> frozenset[str]:
    return frozenset(_at(schema, path).get("enum", ()))
