"""What every contender is asked for: the same pairs of NodePools, under a parent of its own kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Json = dict[str, Any]
Role = Literal["server", "content"]

ROLES: Final[tuple[Role, Role]] = ("server", "content")
NODE_CLASS: Final[Json] = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
RIGHT_WEIGHT: Final = 10
"""`spec.weight` as every parent declares it: a field that each contender owns, and whose change replaces no node."""
WRONG_WEIGHTS: Final = range(11, 101)
"""What the foreign edits put there; Karpenter allows 1 to 100."""

NODE_POOLS: Final = "/apis/karpenter.sh/v1/nodepools"
PROFILES: Final = "/apis/connect-autoscaler.io/v1alpha1/connectautoscalingprofiles"
INSTANCES: Final = "/apis/kro.run/v1alpha1/connectpools"

_LABEL: Final = "workload"
_DISRUPTION: Final[dict[Role, Json]] = {
    "server": {
        "consolidationPolicy": "WhenEmpty",
        "consolidateAfter": "1h",
        "budgets": [{"nodes": "0", "reasons": ["Underutilized", "Drifted"]}, {"nodes": "1", "reasons": ["Empty"]}],
    },
    "content": {
        "consolidationPolicy": "WhenEmptyOrUnderutilized",
        "consolidateAfter": "30s",
        "budgets": [{"nodes": "10%"}],
    },
}
_EXPIRE_AFTER: Final[dict[Role, str]] = {"server": "Never", "content": "720h"}


@dataclass(frozen=True)
class Pair:
    """One parent's two NodePools."""

    number: int

    @property
    def parent(self) -> str:
        """Name of the parent, whatever its kind."""
        return f"p-{self.number:04}"

    def pool(self, role: Role) -> str:
        """Name of a NodePool, which is also the value of its placement label."""
        return f"{role}-{self.number:04}"

    @property
    def pools(self) -> tuple[str, ...]:
        """Names of both."""
        return tuple(self.pool(role) for role in ROLES)


@dataclass(frozen=True)
class World:
    """All pairs."""

    pairs: Sequence[Pair]

    @classmethod
    def of(cls, count: int) -> "World":
        """Return a world of so many pairs."""
        return cls([Pair(number) for number in range(count)])

    @property
    def pools(self) -> tuple[str, ...]:
        """Names of all NodePools; neighbours belong to different parents."""
        return tuple(pair.pool(role) for role in ROLES for pair in self.pairs)


def node_pool(name: str, role: Role) -> Json:
    """Return the NodePool that every contender keeps; names may be placeholders of a template."""
    template: Json = {
        "requirements": [
            {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
            {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
            {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
        ],
        "nodeClassRef": dict(NODE_CLASS),
        "expireAfter": _EXPIRE_AFTER[role],
    }
    if role == "server":
        template["taints"] = [{"key": _LABEL, "value": name, "effect": "NoSchedule"}]
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name, "labels": {"example.com/kept-by": "benchmark"}},
        "spec": {
            "template": {"metadata": {"labels": {_LABEL: name}}, "spec": template},
            "disruption": _DISRUPTION[role],
            "weight": RIGHT_WEIGHT,
        },
    }


def node_pools(world: World) -> list[Json]:
    """Return all NodePools as manifests."""
    return [node_pool(pair.pool(role), role) for pair in world.pairs for role in ROLES]


def node_class() -> Json:
    """Return the NodeClass that all NodePools name."""
    return {
        "apiVersion": f"{NODE_CLASS['group']}/v1alpha1",
        "kind": NODE_CLASS["kind"],
        "metadata": {"name": NODE_CLASS["name"]},
    }


def profile(pair: Pair) -> Json:
    """Return the profile of this project that asks for a pair."""
    server, content = pair.pools
    return {
        "apiVersion": "connect-autoscaler.io/v1alpha1",
        "kind": "ConnectAutoscalingProfile",
        "metadata": {"name": pair.parent},
        "spec": {
            "nodeClassRef": dict(NODE_CLASS),
            "placement": {"labelKey": _LABEL, "server": server, "content": content},
            "serverPool": {"name": server, "weight": RIGHT_WEIGHT},
            "contentPool": {"name": content, "weight": RIGHT_WEIGHT},
        },
    }


def definition() -> Json:
    """Return kro's ResourceGraphDefinition, whose instances are the parents."""
    return {
        "apiVersion": "kro.run/v1alpha1",
        "kind": "ResourceGraphDefinition",
        "metadata": {"name": "connect-pools"},
        "spec": {
            "schema": {
                "apiVersion": "v1alpha1",
                "kind": "ConnectPools",
                "scope": "Cluster",
                "spec": dict.fromkeys(ROLES, "string"),
            },
            "resources": [{"id": role, "template": node_pool(f"${{schema.spec.{role}}}", role)} for role in ROLES],
        },
    }


def instance(pair: Pair) -> Json:
    """Return the kro instance that asks for a pair."""
    return {
        "apiVersion": "kro.run/v1alpha1",
        "kind": "ConnectPools",
        "metadata": {"name": pair.parent},
        "spec": {role: pair.pool(role) for role in ROLES},
    }
