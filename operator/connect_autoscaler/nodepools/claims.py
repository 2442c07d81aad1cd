"""NodeClaims: the few facts that decisions need, and whether one was born under another template.

Source: Karpenter's ``pkg/controllers/nodeclaim/disruption/drift.go`` and ``pkg/scheduling``. Ours deviates on purpose:
it compares what a NodeClaim carries, where Karpenter compares hashes, so it answers before Karpenter has hashed an
edit and needs no copy of the hash. In return it sees hand-made edits of a NodeClaim's metadata, which the hash does
not; and it does not see metadata that the NodeClaim has from a template older than the live one, nor that its template
had an empty map or list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from connect_autoscaler.api.names import LABEL_ARCH, LABEL_NODEPOOL, LABEL_OS
from connect_autoscaler.nodepools.compare import differences, length
from connect_autoscaler.nodepools.paths import TEMPLATE, get
from connect_autoscaler.nodepools.shape import template_spec

_ALIASES: Final = {
    "beta.kubernetes.io/arch": LABEL_ARCH,
    "beta.kubernetes.io/os": LABEL_OS,
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
"""Old names of labels, which Karpenter reads as the new ones (``NormalizedLabels``)."""
_TERMINATION: Final = "terminationGracePeriod"
_COMPARED: Final = ("taints", "startupTaints", "expireAfter", _TERMINATION, "nodeClassRef")


@dataclass(frozen=True, slots=True)
class NodeClaim:
    """What the operator keeps of a NodeClaim."""

    name: str
    uid: str
    version: int
    """``metadata.resourceVersion``."""
    pool: str
    created: datetime
    deleting: bool
    launched: bool
    """Condition Launched: the provider has answered, and the labels of its node are known."""
    registered: bool
    """Condition Registered: the node joined; only then Karpenter needs the ownerReference no more."""
    ready: bool
    drifted: bool
    node: str
    """Name of its node; empty before there is one."""
    owners: tuple[Mapping[str, Any], ...]
    """``metadata.ownerReferences`` as they are, for the guard of a patch."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Take the facts from a NodeClaim (``karpenter.sh/v1``)."""
        meta = body["metadata"]
        conditions = {c["type"]: c["status"] for c in body.get("status", {}).get("conditions", ())}
        return cls(
            name=meta["name"],
            uid=meta["uid"],
            version=int(meta["resourceVersion"]),
            pool=meta.get("labels", {}).get(LABEL_NODEPOOL, ""),
            created=datetime.fromisoformat(meta["creationTimestamp"]),
            deleting="deletionTimestamp" in meta,
            launched=conditions.get("Launched") == "True",
            registered=conditions.get("Registered") == "True",
            ready=conditions.get("Ready") == "True",
            drifted=conditions.get("Drifted") == "True",
            node=body.get("status", {}).get("nodeName", ""),
            owners=tuple(meta.get("ownerReferences", ())),
            labels=meta.get("labels", {}),
            annotations=meta.get("annotations", {}),
            spec={key: value for key, value in template_spec(body.get("spec")).items() if key in _COMPARED},
        )

    @property
    def expires(self) -> datetime | None:
        """When Karpenter deletes it, whatever runs on it; None: never, or so late that no clock can say it."""
        life = length(self.spec.get("expireAfter"))
        try:
            return None if life is None else self.created + life
        except OverflowError:
            return None

    def owned_by(self, uid: str) -> bool:
        """Whether an ownerReference names the object with this uid."""
        return any(owner.get("uid") == uid for owner in self.owners)


def outdated(claim: NodeClaim, wanted: Mapping[str, Any], live: Mapping[str, Any] | None = None) -> bool:
    """Whether Karpenter will call the claim Drifted once the wanted template stands.

    Args:
        claim: A NodeClaim of the pool.
        wanted: The rendered NodePool.
        live: The NodePool at hand; what it has and the wanted one lacks tells a claim that was born under it.
    """
    template = wanted["spec"]["template"]
    standing = (get(live, TEMPLATE) if live else None) or {}
    return (
        _spec_differs(claim, template, standing)
        or _metadata_differs("labels", claim.labels, template, standing)
        or _metadata_differs("annotations", claim.annotations, template, standing)
        # Before the launch a claim lacks the labels of its node, and Karpenter does not judge it.
        or (claim.launched and not all(satisfied(r, claim.labels) for r in template["spec"]["requirements"]))
    )


def _spec_differs(claim: NodeClaim, template: Mapping[str, Any], standing: Mapping[str, Any]) -> bool:
    spec = template["spec"]
    born = {**claim.spec, "requirements": spec["requirements"]}
    if _TERMINATION not in spec and _TERMINATION not in standing.get("spec", {}):
        # Neither template gave it one, so the provider did (`DefaultTerminationGracePeriod`).
        born.pop(_TERMINATION, None)
    return bool(differences(_pool(spec), _pool(born)))


def _pool(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": {}, "spec": {"template": {"spec": spec}}}


def _metadata_differs(
    field: str, own: Mapping[str, str], template: Mapping[str, Any], standing: Mapping[str, Any]
) -> bool:
    wanted = template.get("metadata", {}).get(field, {})
    extra = standing.get("metadata", {}).get(field, {})
    return any(own.get(key) != value for key, value in wanted.items()) or any(
        own.get(key) == value for key, value in extra.items() if key not in wanted
    )


def normalized(key: str) -> str:
    """Give a label key the name that Karpenter uses for it."""
    return _ALIASES.get(key, key)


def satisfied(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels meet one requirement, as Karpenter's ``RequirementsDrifted`` decides (``pkg/scheduling``).

    Karpenter joins all requirements on a key first. That differs in one case: on a key that a NodeClaim lacks, NotIn
    makes it lenient towards Exists, Gt, Lt, Gte and Lte beside it; here each has to be met on its own.
    """
    own = {normalized(key): value for key, value in labels.items()}
    value, values = own.get(normalized(requirement["key"])), requirement.get("values", [])
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    if value is None or not value.isdigit():
        return False
    number, bound = int(value), int(values[0])
    return {"Gt": number > bound, "Lt": number < bound, "Gte": number >= bound, "Lte": number <= bound}[
        requirement["operator"]
    ]
