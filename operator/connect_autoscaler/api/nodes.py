"""The nodes of a pool: requirements, taints, labels. The rules and their messages are those of the CRD."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from connect_autoscaler.api.fields import (
    QUALIFIED_NAME,
    LabelKey,
    LabelValue,
    Model,
    NonEmptyLabelValue,
    Quantity,
    integer,
    require,
    text,
    unique,
)
from connect_autoscaler.api.names import KARPENTER_GROUP, LABEL_CAPACITY_TYPE

SPOT: Final = "spot"
_CAPACITY_TYPES: Final = {"on-demand", "reserved", SPOT}
_NODE_ANNOTATIONS: Final = {f"{KARPENTER_GROUP}/do-not-disrupt", f"{KARPENTER_GROUP}/do-not-repair"}
_HOSTNAME: Final = "kubernetes.io/hostname"
_LONGEST_KEY: Final = 316
_LONGEST_INTEGER: Final = 18


class Operator(StrEnum):
    """How a requirement relates its key to its values."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"
    GTE = "Gte"
    LTE = "Lte"


class TaintEffect(StrEnum):
    """What happens to pods that do not tolerate a taint."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


def _reserved(key: str) -> bool:
    # As Karpenter's CRD decides it: by the end of what precedes the first slash.
    return key.split("/", 1)[0].endswith(KARPENTER_GROUP)


def _requirement_key(key: str) -> str:
    require(
        key == LABEL_CAPACITY_TYPE or not _reserved(key),
        "must not be in the label domain karpenter.sh, except karpenter.sh/capacity-type",
    )
    require(key != _HOSTNAME, "must not be kubernetes.io/hostname: Karpenter reserves it")
    return key


class Requirement(Model):
    """A constraint on the nodes that Karpenter may launch, or one that it knows of."""

    key: Annotated[LabelKey, AfterValidator(_requirement_key)]
    operator: Operator
    values: Annotated[tuple[LabelValue, ...], Field(max_length=200)] = ()
    min_values: Annotated[int, integer(1, 50)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        match self.operator:
            case Operator.IN | Operator.NOT_IN:
                require(self.values, "operators In and NotIn must have at least one value")
            case Operator.EXISTS | Operator.DOES_NOT_EXIST:
                require(not self.values, "operators Exists and DoesNotExist must have no values")
            case _:
                require(
                    len(self.values) == 1 and _is_count(self.values[0]),
                    'operators Gt, Lt, Gte and Lte must have exactly one value, an integer of zero or more such as "4"',
                )
        require(
            self.operator is not Operator.IN or self.min_values is None or len(self.values) >= self.min_values,
            "operator In must list at least minValues values",
        )
        require(
            self.key != LABEL_CAPACITY_TYPE or _CAPACITY_TYPES.issuperset(self.values),
            "values of karpenter.sh/capacity-type must be on-demand, reserved or spot",
        )
        return self


def _is_count(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= _LONGEST_INTEGER


class Taint(Model):
    """A taint of the nodes."""

    key: LabelKey
    value: NonEmptyLabelValue | None = None
    effect: TaintEffect


Taints = Annotated[
    tuple[Taint, ...],
    Field(max_length=20),
    unique(lambda taint: (taint.key, taint.effect), "must not contain the same key and effect twice"),
]


def _qualified(keys: Mapping[str, object]) -> bool:
    return all(len(key) <= _LONGEST_KEY and re.fullmatch(QUALIFIED_NAME, key) for key in keys)


def _labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    _label_keys(labels)
    require(
        all(key == LABEL_CAPACITY_TYPE or not _reserved(key) for key in labels),
        "keys must not be in the label domain karpenter.sh, except karpenter.sh/capacity-type",
    )
    require(_HOSTNAME not in labels, "keys must not be kubernetes.io/hostname: Karpenter reserves it")
    return labels


def _annotations(annotations: Mapping[str, str]) -> Mapping[str, str]:
    _label_keys(annotations)
    require(
        all(key in _NODE_ANNOTATIONS or not _reserved(key) for key in annotations),
        "keys must not be in the domain karpenter.sh, "
        "except karpenter.sh/do-not-disrupt and karpenter.sh/do-not-repair",
    )
    return annotations


def _label_keys(labels: Mapping[str, str]) -> None:
    require(
        _qualified(labels),
        "keys must be label keys: a name of at most 63 characters, optionally after a DNS prefix and a slash, "
        "such as example.com/team",
    )


def _resources(limits: Mapping[str, int | str]) -> Mapping[str, int | str]:
    require(_qualified(limits), "keys must be resource names such as cpu, memory, nodes or nvidia.com/gpu")
    return limits


NodeLabels = Annotated[Mapping[str, LabelValue], Field(max_length=50), AfterValidator(_labels)]
NodeAnnotations = Annotated[
    Mapping[str, Annotated[str, text(1024, minimum=0)]], Field(max_length=50), AfterValidator(_annotations)
]
Limits = Annotated[Mapping[str, Quantity], Field(max_length=20), AfterValidator(_resources)]
