"""Releases as users have them before the operator comes: `releases/`, and the sample profile that is laid over them.

A file holds the user's values, and under `release` what is unusual about the release: `chartVersion`, `appVersion`,
`applyMethod` (null: born under Helm 3) and `defaults`, laid over the values of the stand-in chart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.nodepools.karpenter import Karpenter
from connect_autoscaler.nodepools.render import render
from connect_autoscaler.release.overlay import overlay
from profile_specs import NODE_CLASS, merged

Json = dict[str, Any]

FILES: Final = sorted(Path(__file__).with_name("releases").glob("*.yaml"))
STAND_IN: Final = Path(__file__).parent / "charts" / "rstudio-connect"
MARKER: Final = "MARKER-SECRET-"
"""What every secret in the files begins with."""

_PROFILE: Final = {
    "metadata": {
        "name": "production",
        "uid": "uid-of-production",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2026-03-01T00:00:00Z",
    },
    "spec": {
        "nodeClassRef": NODE_CLASS,
        "serverPool": {"labels": {"disktype": "ssd"}},
        "contentPool": {"taints": [{"key": "example.com/content", "effect": "NoSchedule"}]},
        "server": {
            "topologySpread": [
                {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
            ]
        },
    },
}
_KARPENTER: Final = Karpenter(
    operators=frozenset({"In", "NotIn", "Exists", "DoesNotExist"}),
    consolidation_policies=frozenset({"WhenEmpty", "WhenEmptyOrUnderutilized"}),
    budget_reasons=frozenset({"Underutilized", "Empty", "Drifted"}),
    atomic_labels=True,
)


@dataclass(frozen=True)
class Point:
    """A release before the operator comes."""

    name: str
    values: Json
    defaults: Json
    chart_version: str
    app_version: str
    apply_method: str | None

    @property
    def selector(self) -> Json:
        """Labels by which the chart's Deployment selects its pods."""
        name = self.values.get("nameOverride") or "rstudio-connect"
        return {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": "connect"}

    @property
    def wanted(self) -> Json:
        """The overlay of the sample profile."""
        server, *content = pools()
        taints = [taint for pool in content for taint in _taints(pool)]
        return overlay(_profile(), _taints(server), taints, self.selector)


def load(file: Path) -> Point:
    """Read a file of `releases/`."""
    read = yaml.safe_load(file.read_text())
    release = read.get("release") or {}
    defaults = yaml.safe_load((STAND_IN / "values.yaml").read_text())
    return Point(
        name=file.stem,
        values=read["values"],
        defaults=merged(defaults, release.get("defaults") or {}),
        chart_version=str(release.get("chartVersion", "0.21.0")),
        app_version=str(release.get("appVersion", "2026.08.0")),
        apply_method=release.get("applyMethod", "ssa"),
    )


@cache
def _profile() -> Profile:
    return Profile.of(_PROFILE)


@cache
def pools() -> tuple[Json, ...]:
    """NodePools of the sample profile, the servers' first."""
    return tuple(render(_profile(), pool, _KARPENTER) for pool in _profile().pools)


def _taints(pool: Mapping[str, Any]) -> list[Json]:
    taints: list[Json] = pool["spec"]["template"]["spec"].get("taints", [])
    return taints
