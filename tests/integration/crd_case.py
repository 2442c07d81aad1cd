"""Specs on either side of a CEL rule of the CRD."""

from dataclasses import dataclass, replace

from crd_schema import POOLS
from profile_specs import Spec, on

SERVER, CONTENT, ADDITIONAL = POOLS
CAPACITY = "karpenter.sh/capacity-type"


@dataclass(frozen=True)
class Case:
    """A rule, named by its place and message, with patches of the smallest spec.

    Attributes:
        path: Where the rule stands.
        message: What it says.
        accept: Patches that it lets through.
        reject: Patches that it alone refuses.
        before: The patch that the profile has before the update, for rules about updates.
    """

    path: str
    message: str
    accept: tuple[Spec, ...]
    reject: tuple[Spec, ...]
    before: Spec | None = None


def pools(case: Case, *only: str) -> list[Case]:
    """Return the same rule for every pool; paths and patches are those of the pool."""
    return [
        replace(
            case,
            path=f"spec.{pool}.{case.path}".rstrip("."),
            accept=tuple(on(pool, patch) for patch in case.accept),
            reject=tuple(on(pool, patch) for patch in case.reject),
            before=None if case.before is None else on(pool, case.before),
        )
        for pool in only or POOLS
    ]


def requirement(key: str, operator: str, *values: str, **more: int) -> Spec:
    """Return a patch of a pool with one requirement."""
    return {
        "requirements": [{"key": key, "operator": operator, **({"values": list(values)} if values else {}), **more}]
    }


def taint(key: str, effect: str = "NoSchedule") -> Spec:
    """Return a taint."""
    return {"key": key, "effect": effect}


def budgets(*entries: Spec) -> Spec:
    """Return a patch of a pool with these budgets."""
    return {"disruption": {"budgets": list(entries)}}
