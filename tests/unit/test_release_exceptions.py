"""What driftPolicy.ignore leaves alone in a release."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.release.exceptions import ignored, without
from connect_autoscaler.release.lists import LISTS
from connect_autoscaler.release.merge import merge
from unit.builders import Json, profile
from unit.release_builders import OVERLAY
from unit.release_views import RELEASE
from unit.values_strategies import documents, overlays

WHERE = "/pod/annotations/karpenter.sh~1do-not-disrupt"


def left_alone(rule: Json, where: str = WHERE, manager: str | None = None) -> bool:
    return ignored(profile({**RELEASE, "driftPolicy": {"ignore": [rule]}}), where, manager)


@pytest.mark.parametrize(
    ("rule", "manager", "expected"),
    [
        ({"paths": [WHERE]}, None, True),
        ({"paths": ["/pod/annotations"]}, None, True),
        ({"paths": ["/"]}, None, True),
        ({"paths": ["/pod/anno"]}, None, False),
        ({"paths": [f"{WHERE}/x"]}, None, False),
        ({"paths": ["/spec/weight", "/pod"]}, None, True),
        ({"paths": ["/pod"], "target": {"kind": "Release"}}, None, True),
        ({"paths": ["/pod"], "target": {"kind": "Release", "name": "connect"}}, None, True),
        ({"paths": ["/pod"], "target": {"kind": "Release", "name": "other"}}, None, False),
        ({"paths": ["/pod"], "target": {"kind": "NodePool"}}, None, False),
        ({"paths": ["/pod"], "target": {"kind": "NodePool", "name": "connect"}}, None, False),
        ({"managers": ["bot"]}, "bot", True),
        ({"managers": ["bot"]}, "kubectl", False),
        ({"managers": ["bot"]}, None, False),
        ({"managers": ["bot"], "paths": ["/pod"]}, "bot", True),
        ({"managers": ["bot"], "paths": ["/tolerations"]}, "bot", False),
    ],
)
def test_rules(rule: Json, manager: str | None, expected: bool) -> None:  # noqa: FBT001 - a column
    assert left_alone(rule, manager=manager) is expected


def test_one_rule_of_several_is_enough_and_no_rule_is_none() -> None:
    rules = [{"paths": ["/a"]}, {"paths": [WHERE]}]
    assert ignored(profile({**RELEASE, "driftPolicy": {"ignore": rules}}), WHERE)
    assert not ignored(profile(RELEASE), WHERE)


def test_an_element_of_a_list_is_named_by_its_key() -> None:
    path = "/tolerations[key=workload,effect=NoSchedule]"
    assert left_alone({"paths": ["/tolerations"]}, path)
    assert left_alone({"paths": [path]}, path)
    assert not left_alone({"paths": ["/toleration"]}, path)


@given(overlays())
def test_nothing_left_alone_and_everything(wanted: Json) -> None:
    before = copy.deepcopy(wanted)
    assert without(wanted, lambda _: False) == before
    assert without(wanted, lambda _: True) == {}
    assert wanted == before


@given(overlays(), st.sampled_from(["/pod", "/tolerations", "/backends/kubernetes/defaultResourceJobBase", "/config"]))
def test_what_is_below_goes_and_the_rest_stays(wanted: Json, where: str) -> None:
    def below(pointer: str) -> bool:
        return pointer == where or pointer.startswith((where + "/", where + "["))

    kept = without(wanted, below)
    pointers = {change.pointer for change in merge({}, {}, {}, wanted, {}).changes}
    left = {change.pointer for change in merge({}, {}, {}, kept, {}).changes}
    assert left == {pointer for pointer in pointers if not below(pointer)}
    assert no_empty_map(kept)


def no_empty_map(node: Json) -> bool:
    return all(
        value not in ({}, []) and (not isinstance(value, dict) or no_empty_map(value)) for value in node.values()
    )


@given(documents(), overlays())
def test_elements_that_are_left_alone_are_not_written(config: Json, wanted: Json) -> None:
    for path in LISTS:
        first = "/" + "/".join(path)
        kept = without(wanted, lambda pointer, first=first: pointer.startswith(first + "["))  # type: ignore[misc]
        made = merge(config, {}, {}, kept, {})
        assert not [change for change in made.changes if change.pointer.startswith(first + "[")]


def test_the_overlay_of_the_smallest_profile_less_one_value() -> None:
    kept = without(OVERLAY, lambda pointer: pointer == WHERE)
    assert "pod" not in kept
    assert kept == {key: value for key, value in OVERLAY.items() if key != "pod"}
