"""The overlay that a profile asks for, pinned as files; what protects, and what a taint becomes.

A file of `golden/overlays/` holds the spec of a profile and its overlay. Files are rewritten from the specs in them by
`UPDATE_GOLDEN=1 pytest tests/unit/test_release_overlay.py`; what changed then shows in the diff.
"""

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.nodepools.render import render
from connect_autoscaler.release.overlay import overlay, protects
from profile_specs import FULL
from unit.builders import KARPENTER_1_15, profile
from unit.release_builders import SELECTOR

Json = dict[str, Any]

GOLDEN = Path(__file__).parent / "golden" / "overlays"
FILES = sorted(GOLDEN.glob("*.yaml"))


def asked(owner: Profile) -> Json:
    """The overlay, with the taints of the profile's own pools."""
    pools = [render(owner, pool, KARPENTER_1_15) for pool in owner.pools]
    taints = [pool["spec"]["template"]["spec"].get("taints", []) for pool in pools]
    return overlay(owner, taints[0], [taint for each in taints[1:] for taint in each], SELECTOR)


def test_there_are_golden_files() -> None:
    assert {file.stem for file in FILES} >= {"smallest", "everything"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden(file: Path) -> None:
    golden = yaml.safe_load(file.read_text())
    made = asked(profile(golden["spec"]))
    if os.environ.get("UPDATE_GOLDEN"):
        comment = next((line for line in file.read_text().splitlines() if line.startswith("#")), "")
        text = yaml.safe_dump({**golden, "overlay": made}, sort_keys=False, width=120)
        file.write_text(f"{comment}\n{text}".lstrip())
        golden = yaml.safe_load(file.read_text())
    assert json.dumps(made) == json.dumps(golden.get("overlay")), "in this order, too"


def test_the_smallest_profile_asks_for_what_the_vendors_page_prints() -> None:
    assert asked(profile()) == {
        "tolerations": [
            {"key": "workload", "operator": "Equal", "value": "connect-server", "effect": "NoSchedule"},
        ],
        "nodeSelector": {"workload": "connect-server"},
        "pod": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}},
        "backends": {
            "kubernetes": {
                "enabled": True,
                "defaultResourceJobBase": {
                    "spec": {
                        "template": {
                            "spec": {
                                "nodeSelector": {"workload": "connect-content"},
                                "topologySpreadConstraints": [
                                    {
                                        "maxSkew": 1,
                                        "topologyKey": "kubernetes.io/hostname",
                                        "whenUnsatisfiable": "ScheduleAnyway",
                                        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "rstudio_connect"}},
                                    }
                                ],
                            }
                        }
                    }
                },
            }
        },
        "config": {"Kubernetes": {"RenderedContentAnnotation": ["karpenter.sh/do-not-disrupt=true"]}},
    }


@pytest.mark.parametrize("spec", [{}, FULL], ids=["smallest", "full"])
def test_nothing_is_null_or_empty_and_nothing_is_shared(spec: Json) -> None:
    owner = profile(spec)
    made = asked(owner)
    assert [node for node in _nodes(made) if node is None or node in ({}, [])] == []
    assert made == json.loads(json.dumps(made))
    before = copy.deepcopy(made)
    made["tolerations"].clear()
    made["backends"]["kubernetes"]["defaultResourceJobBase"].clear()
    assert asked(owner) == before


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(below)


def test_no_taint_no_toleration_and_no_spread_no_constraint() -> None:
    made = overlay(profile({"content": {"topologySpread": []}}), [], [], SELECTOR)
    assert "tolerations" not in made
    assert "topologySpreadConstraints" not in made
    assert made["backends"]["kubernetes"]["defaultResourceJobBase"]["spec"]["template"]["spec"] == {
        "nodeSelector": {"workload": "connect-content"}
    }


@pytest.mark.parametrize(
    ("taint", "toleration"),
    [
        (
            {"key": "a", "value": "b", "effect": "NoExecute"},
            {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"},
        ),
        ({"key": "a", "effect": "NoSchedule"}, {"key": "a", "operator": "Exists", "effect": "NoSchedule"}),
        ({"key": "a", "value": "", "effect": "NoSchedule"}, {"key": "a", "operator": "Exists", "effect": "NoSchedule"}),
    ],
)
def test_taints_become_tolerations(taint: Json, toleration: Json) -> None:
    made = overlay(profile(), [taint, dict(taint)], [taint, taint], SELECTOR)
    assert made["tolerations"] == [toleration]
    job = made["backends"]["kubernetes"]["defaultResourceJobBase"]["spec"]["template"]["spec"]
    assert job["tolerations"] == [toleration]


def test_servers_are_counted_by_the_labels_of_their_own_deployment() -> None:
    spread = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
    made = overlay(profile({"server": {"topologySpread": spread}}), [], [], {"app.kubernetes.io/name": "rsc"})
    (constraint,) = made["topologySpreadConstraints"]
    assert constraint["labelSelector"] == {"matchLabels": {"app.kubernetes.io/name": "rsc"}}


@pytest.mark.parametrize("value", ["true", "4h", "1s", "1h30m", "0.5h"])
def test_protects(value: str) -> None:
    assert protects(value)


@pytest.mark.parametrize("value", ["", "false", "True", "yes", "1", "0", "0s", "-1h", "Never", "soon", "true ", "4 h"])
def test_does_not_protect(value: str) -> None:
    assert not protects(value)
