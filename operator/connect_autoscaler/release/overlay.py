"""What a profile adds to the values of the Connect release.

Source: Posit's page "Autoscaling considerations", corrected where a measurement contradicts it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import durationpy

from connect_autoscaler.api.fields import Model, parse_duration
from connect_autoscaler.api.placement import SpreadConstraint, WhenUnsatisfiable
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.release.lists import (
    JOB_POD,
    JOB_SPREAD,
    JOB_TOLERATIONS,
    RENDERED,
    SERVER_SPREAD,
    SERVER_TOLERATIONS,
)
from connect_autoscaler.release.values import Json, Path, put

DO_NOT_DISRUPT: Final = "karpenter.sh/do-not-disrupt"
SERVER_SELECTOR: Final[Path] = ("nodeSelector",)
SERVER_ANNOTATIONS: Final[Path] = ("pod", "annotations")
JOB_SELECTOR: Final[Path] = (*JOB_POD, "nodeSelector")
BACKEND: Final[Path] = ("backends", "kubernetes", "enabled")
CONTENT_LABELS: Final = {"app.kubernetes.io/name": "rstudio_connect"}
"""Labels that Connect gives its content pods, by the vendor's page."""
_CONTENT_SPREAD: Final = (
    SpreadConstraint(
        max_skew=1, topology_key="kubernetes.io/hostname", when_unsatisfiable=WhenUnsatisfiable.SCHEDULE_ANYWAY
    ),
)

Taints = Sequence[Mapping[str, Any]]


def overlay(profile: Profile, server_taints: Taints, content_taints: Taints, server_labels: Mapping[str, str]) -> Json:
    """Write the values that the profile asks for; what is empty is left out.

    Args:
        profile: Placement, spread and annotation come from its spec.
        server_taints: Taints of the server pool's nodes.
        content_taints: Taints of the nodes of all content pools.
        server_labels: Labels by which the server's Deployment selects its pods; a spread of servers counts these.
    """
    spec, placement = profile.spec, profile.spec.placement
    spread = _CONTENT_SPREAD if spec.content.topology_spread is None else spec.content.topology_spread
    made: Json = {}
    for path, value in (
        ((*SERVER_SELECTOR, placement.label_key), placement.server),
        (SERVER_TOLERATIONS, _tolerations(server_taints)),
        (SERVER_SPREAD, _spread(spec.server.topology_spread, server_labels)),
        ((*SERVER_ANNOTATIONS, DO_NOT_DISRUPT), "true"),
        (BACKEND, True),
        ((*JOB_SELECTOR, placement.label_key), placement.content),
        (JOB_TOLERATIONS, _tolerations(content_taints)),
        (JOB_SPREAD, _spread(spread, CONTENT_LABELS)),
        (RENDERED, [f"{DO_NOT_DISRUPT}={spec.content.rendered_do_not_disrupt}"]),
    ):
        if value != []:
            put(made, path, value)
    return made


def toleration(taint: Mapping[str, Any]) -> Json:
    """What a pod needs to run on nodes with a taint."""
    value = {"operator": "Equal", "value": taint["value"]} if taint.get("value") else {"operator": "Exists"}
    return {"key": taint["key"], **value, "effect": taint["effect"]}


def _tolerations(taints: Taints) -> list[Json]:
    """One toleration for each taint, in order, none twice."""
    wanted: list[Json] = []
    for taint in taints:
        if (each := toleration(taint)) not in wanted:
            wanted.append(each)
    return wanted


def _spread(constraints: Iterable[Model], labels: Mapping[str, str]) -> list[Json]:
    return [
        {**each.model_dump(mode="json", by_alias=True), "labelSelector": {"matchLabels": dict(labels)}}
        for each in constraints
    ]


def protects(value: str) -> bool:
    """Whether a value of Karpenter's do-not-disrupt annotation protects: ``true``, or a duration longer than zero.

    Source: Karpenter, ``pkg/utils/pod/scheduling.go``.
    """
    if value == "true":
        return True
    try:
        length = parse_duration(value)
    except durationpy.DurationError:
        return False
    return length is not None and length > timedelta()
