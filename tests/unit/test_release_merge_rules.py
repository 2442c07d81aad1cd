"""The rules of the merge of values, one example each."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from connect_autoscaler.api.pointers import pointer
from connect_autoscaler.release.lists import (
    JOB_SPREAD,
    JOB_TOLERATIONS,
    RENDERED,
    SERVER_SPREAD,
    elements,
)
from connect_autoscaler.release.merge import Merged, differences, merge
from connect_autoscaler.release.overlay import DO_NOT_DISRUPT, JOB_SELECTOR, SERVER_ANNOTATIONS, SERVER_SELECTOR
from connect_autoscaler.release.values import Path, get, put
from unit.values_strategies import (
    EXTRA_TAINT,
    HOST,
    OVERLAYS,
    spread,
)

Json = dict[str, Any]

WANTED = OVERLAYS[0]
TOLERATION = WANTED["tolerations"][0]
ANNOTATION = (*SERVER_ANNOTATIONS, DO_NOT_DISRUPT)
RENDERED_TRUE = f"{DO_NOT_DISRUPT}=true"
WANTED_4H = next(each for each in OVERLAYS if get(each, RENDERED) == [f"{DO_NOT_DISRUPT}=4h"])
SPREAD_SERVERS = next(each for each in OVERLAYS if SERVER_SPREAD[0] in each)
EXTRA = next(each for each in OVERLAYS if len(each["tolerations"]) == 2)
EXTRA_TOLERATION = {**EXTRA_TAINT, "operator": "Exists"}


def laid(path: Path, value: Any) -> Json:
    """Values with one thing set."""
    document: Json = {}
    put(document, path, value)
    return document


def first(config: Json, wanted: Json = WANTED, chart: Json | None = None) -> Merged:
    return merge(config, chart or {}, {}, wanted, {})


def after(merged: Merged, applied: Json, wanted: Json, chart: Json | None = None) -> Merged:
    """Merge again, with what an earlier merge left behind and its prior values as a Secret keeps them."""
    return merge(merged.values, chart or {}, applied, wanted, json.loads(json.dumps(merged.prior)))


def given_back(merged: Merged, applied: Json = WANTED, chart: Json | None = None) -> Json:
    back = after(merged, applied, {}, chart)
    assert back.prior == {}
    return back.values


def flat(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is no map, with lists as one value."""
    if isinstance(node, dict):
        for key, below in node.items():
            yield from flat(below, (*path, key))
    else:
        yield path, node


def test_into_nothing() -> None:
    merged = first({})
    assert merged.values == WANTED
    assert [change.pointer for change in merged.needed] == [
        "/nodeSelector/workload",
        "/tolerations[key=workload,effect=NoSchedule]",
        "/pod/annotations/karpenter.sh~1do-not-disrupt",
        "/backends/kubernetes/enabled",
        f"{pointer(JOB_SELECTOR)}/workload",
        f"{pointer(JOB_SPREAD)}[topologyKey={HOST},whenUnsatisfiable=ScheduleAnyway]",
        "/config/Kubernetes/RenderedContentAnnotation[key=karpenter.sh/do-not-disrupt]",
    ]
    assert all(change.actual is None for change in merged.changes)
    assert (merged.kept, merged.refused, merged.malformed) == ((), (), ())
    assert given_back(merged) == {}


def test_a_default_of_the_chart_is_pinned_but_worth_no_upgrade() -> None:
    chart: Json = {"backends": {"kubernetes": {"enabled": True}}}
    merged = first({}, chart=chart)
    (pinned,) = (change for change in merged.changes if change.by_default)
    assert (pinned.pointer, pinned.expected, pinned.actual) == ("/backends/kubernetes/enabled", True, True)
    assert pinned not in merged.needed
    assert merged.values["backends"]["kubernetes"]["enabled"] is True


def test_several_elements_of_one_key_are_told_apart_by_what_they_say() -> None:
    """The user has put one of the same key before ours: ours is the one that is replaced, and taken out."""
    theirs = {"maxSkew": 5, "topologyKey": HOST, "whenUnsatisfiable": "ScheduleAnyway"}
    merged = first({})
    ours: list[dict[str, Any]] = get(merged.values, JOB_SPREAD) or []
    put(merged.values, JOB_SPREAD, [theirs, *ours])
    changed = copy.deepcopy(WANTED)
    put(changed, JOB_SPREAD, [{**ours[0], "maxSkew": 2}])
    again = after(merged, WANTED, changed)
    assert get(again.values, JOB_SPREAD) == [theirs, {**ours[0], "maxSkew": 2}]
    assert get(given_back(merged), JOB_SPREAD) == [theirs]


def test_a_default_list_of_the_chart_is_taken_along() -> None:
    chart: Json = {"tolerations": [{"key": "chart", "operator": "Exists"}]}
    merged = first({}, chart=chart)
    assert merged.values["tolerations"] == [*chart["tolerations"], TOLERATION]
    assert given_back(merged, chart=chart) == {}


def test_a_default_list_of_the_chart_that_a_null_takes_away_is_not_counted_on() -> None:
    config: Json = {"config": None}
    chart = laid(RENDERED, [RENDERED_TRUE])
    merged = first(config, chart=chart)
    assert get(merged.values, RENDERED) == [RENDERED_TRUE]
    assert after(merged, WANTED, WANTED, chart).changes == ()
    assert given_back(merged, chart=chart) == config


@pytest.mark.parametrize("path", [SERVER_SELECTOR, JOB_SELECTOR], ids=["server", "content"])
def test_another_value_at_the_nodes_label_is_refused(path: Path) -> None:
    config = laid((*path, "workload"), "something-else")
    merged = first(config)
    (refused,) = merged.refused
    assert (refused.pointer, refused.actual) == (f"{pointer(path)}/workload", "something-else")
    assert refused.expected == get(WANTED, (*path, "workload"))
    assert get(merged.values, (*path, "workload")) == "something-else"
    assert given_back(merged) == config


@pytest.mark.parametrize("value", [False, "false"])
def test_a_backend_that_is_off_is_refused(value: object) -> None:
    merged = first(laid(("backends", "kubernetes", "enabled"), value))
    (refused,) = merged.refused
    assert (refused.pointer, refused.expected, refused.actual) == ("/backends/kubernetes/enabled", True, value)
    assert merged.values["backends"]["kubernetes"]["enabled"] == value


@pytest.mark.parametrize("own", ["false", False, "4h", "", None])
def test_the_servers_annotation_is_replaced_and_given_back(own: object) -> None:
    config = laid(ANNOTATION, own)
    merged = first(config)
    assert get(merged.values, ANNOTATION) == "true"
    (change,) = (each for each in merged.needed if each.pointer == pointer(ANNOTATION))
    assert (change.expected, change.actual) == ("true", own)
    assert (merged.refused, merged.kept) == ((), ())
    assert given_back(merged) == config


@pytest.mark.parametrize("own", [True, "true"])
def test_the_same_annotation_is_left_as_it_is_written(own: object) -> None:
    config = laid(ANNOTATION, own)
    merged = first(config)
    assert get(merged.values, ANNOTATION) is own
    assert given_back(merged) == config


def test_an_annotation_that_the_user_changed_since_is_replaced_again_and_given_back_as_it_was_last() -> None:
    merged = first(laid(ANNOTATION, "false"))
    put(merged.values, ANNOTATION, "1h")
    again = after(merged, WANTED, WANTED)
    assert get(again.values, ANNOTATION) == "true"
    assert given_back(again) == laid(ANNOTATION, "1h")


def test_an_annotation_that_the_user_took_out_since_is_not_brought_back() -> None:
    merged = first(laid(ANNOTATION, "false"))
    del merged.values["pod"]["annotations"][DO_NOT_DISRUPT]
    again = after(merged, WANTED, WANTED)
    assert get(again.values, ANNOTATION) == "true"
    assert given_back(again) == {"pod": {"annotations": {}}}


def test_values_that_the_user_changed_since_stay_when_the_rest_is_given_back() -> None:
    merged = first({})
    put(merged.values, ANNOTATION, "1h")
    merged.values["tolerations"][0]["value"] = "mine"
    back = after(merged, WANTED, {})
    assert back.values == {**laid(ANNOTATION, "1h"), "tolerations": [{**TOLERATION, "value": "mine"}]}


@pytest.mark.parametrize("own", ["true", "4h", "1h30m"])
def test_a_users_annotation_of_renders_stays_if_it_protects(own: str) -> None:
    config = laid(RENDERED, [f"{DO_NOT_DISRUPT}={own}", "example.com/a=b"])
    merged = first(config, WANTED_4H)
    assert get(merged.values, RENDERED) == get(config, RENDERED)
    assert [change.actual for change in merged.kept] == ([f"{DO_NOT_DISRUPT}={own}"] if own != "4h" else [])
    assert given_back(merged, WANTED_4H) == config


@pytest.mark.parametrize("own", ["=false", "=", "", "=0s", "=-1h", "=soon"])
def test_a_users_annotation_of_renders_that_protects_nothing_is_replaced_and_given_back(own: str) -> None:
    config = laid(RENDERED, ["example.com/a=b", f"{DO_NOT_DISRUPT}{own}", "example.com/c=d"])
    merged = first(config)
    assert get(merged.values, RENDERED) == ["example.com/a=b", RENDERED_TRUE, "example.com/c=d"]
    assert merged.kept == ()
    assert given_back(merged) == config


def test_an_annotation_of_renders_that_the_user_made_worthless_since_is_given_back_as_he_left_it() -> None:
    merged = first({})
    put(merged.values, RENDERED, [f"{DO_NOT_DISRUPT}=false"])
    again = after(merged, WANTED, WANTED)
    assert get(again.values, RENDERED) == [RENDERED_TRUE]
    assert given_back(again) == laid(RENDERED, [f"{DO_NOT_DISRUPT}=false"])


@pytest.mark.parametrize("scalar", ["example.com/a=b", "", 5, True])
def test_a_scalar_becomes_a_list_and_a_scalar_again(scalar: object) -> None:
    config = laid(RENDERED, scalar)
    merged = first(config)
    assert get(merged.values, RENDERED) == [scalar, RENDERED_TRUE]
    assert given_back(merged) == config


def test_a_scalar_that_serves_is_left_alone() -> None:
    config = laid(RENDERED, RENDERED_TRUE)
    merged = first(config)
    assert get(merged.values, RENDERED) == RENDERED_TRUE
    assert given_back(merged) == config


def test_ours_follows_the_profile_and_the_users_does_not() -> None:
    ours = after(first({}), WANTED, WANTED_4H)
    assert get(ours.values, RENDERED) == [f"{DO_NOT_DISRUPT}=4h"]
    config = laid(RENDERED, [RENDERED_TRUE])
    theirs = after(first(config), WANTED, WANTED_4H)
    assert get(theirs.values, RENDERED) == [RENDERED_TRUE]
    assert [change.expected for change in theirs.kept] == [f"{DO_NOT_DISRUPT}=4h"]
    assert given_back(theirs, WANTED_4H) == config


@pytest.mark.parametrize("path", [SERVER_SPREAD, JOB_SPREAD], ids=["server", "content"])
@pytest.mark.parametrize("own", [{"maxSkew": 5}, {"labelSelector": {"matchLabels": {}}}], ids=["skew", "labels"])
def test_a_users_spread_of_the_same_key_stays_and_is_told(path: Path, own: Json) -> None:
    (wanted,) = elements(get(SPREAD_SERVERS, path))
    config = laid(path, [{**wanted, **own}])
    merged = first(config, SPREAD_SERVERS)
    assert get(merged.values, path) == get(config, path)
    (kept,) = merged.kept
    name = f"[topologyKey={wanted['topologyKey']},whenUnsatisfiable={wanted['whenUnsatisfiable']}]"
    assert kept.pointer == pointer(path) + name
    assert (kept.expected, [kept.actual]) == (wanted, get(config, path))
    assert given_back(merged, SPREAD_SERVERS) == config


def test_a_spread_with_another_key_stands_beside_ours() -> None:
    merged = first(laid(JOB_SPREAD, [spread(HOST, "DoNotSchedule")]))
    assert get(merged.values, JOB_SPREAD) == [spread(HOST, "DoNotSchedule"), *elements(get(WANTED, JOB_SPREAD))]
    assert merged.kept == ()


@pytest.mark.parametrize(
    "own",
    [
        TOLERATION,
        {key: value for key, value in TOLERATION.items() if key != "operator"},
        {key: value for key, value in TOLERATION.items() if key != "effect"},
        {"key": "workload", "operator": "Exists"},
        {"key": "workload", "operator": "Exists", "effect": "NoSchedule"},
        {"operator": "Exists", "effect": "NoSchedule"},
        {"operator": "Exists"},
    ],
)
def test_nothing_is_added_to_a_toleration_that_covers_the_taint(own: Json) -> None:
    config = {"tolerations": [own]}
    merged = first(config)
    assert merged.values["tolerations"] == [own]
    assert not [change for change in (*merged.changes, *merged.kept) if change.pointer.startswith("/tolerations")]
    assert given_back(merged) == config


@pytest.mark.parametrize(
    "own",
    [
        {**TOLERATION, "value": "connect-content"},
        {**TOLERATION, "effect": "NoExecute"},
        {**TOLERATION, "key": "workloads"},
        {"key": "workload", "operator": "Exists", "effect": "NoExecute"},
        {"key": "other", "operator": "Exists"},
        {},
    ],
)
def test_a_toleration_is_added_to_one_that_covers_something_else(own: Json) -> None:
    config = {"tolerations": [own]}
    merged = first(config)
    assert merged.values["tolerations"] == [own, TOLERATION]
    assert given_back(merged) == config


@pytest.mark.parametrize("own", [{"operator": "Exists"}, {"key": EXTRA_TAINT["key"], "operator": "Exists"}])
def test_a_toleration_for_a_while_covers_nothing(own: Json) -> None:
    forever, limited = ({"tolerations": [{**own, **more}]} for more in ({}, {"tolerationSeconds": 300}))
    assert EXTRA_TOLERATION not in first(forever, EXTRA).values["tolerations"]
    merged = first(limited, EXTRA)
    assert merged.values["tolerations"] == [*limited["tolerations"], TOLERATION, EXTRA_TOLERATION]
    assert given_back(merged, EXTRA) == limited


def test_the_same_toleration_for_a_while_stays_and_is_told() -> None:
    own = {**EXTRA_TOLERATION, "tolerationSeconds": 300}
    merged = first({"tolerations": [own]}, EXTRA)
    assert merged.values["tolerations"] == [own, TOLERATION]
    assert [change.actual for change in merged.kept] == [own]


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"nodeSelector": "connect-server"}, "/nodeSelector"),
        ({"nodeSelector": ["connect-server"]}, "/nodeSelector"),
        ({"nodeSelector": {"workload": {"a": "b"}}}, "/nodeSelector/workload"),
        ({"tolerations": {"key": "a"}}, "/tolerations"),
        ({"tolerations": "a"}, "/tolerations"),
        ({"pod": []}, "/pod"),
        ({"pod": {"annotations": ["a=b"]}}, "/pod/annotations"),
        ({"backends": True}, "/backends"),
        ({"backends": {"kubernetes": {"enabled": {}}}}, "/backends/kubernetes/enabled"),
        (laid(JOB_TOLERATIONS[:-1], [{}]), pointer(JOB_TOLERATIONS[:-1])),
        (laid(JOB_SPREAD, {"maxSkew": 1}), pointer(JOB_SPREAD)),
        (laid(RENDERED, {DO_NOT_DISRUPT: "true"}), pointer(RENDERED)),
        ({"config": {"Kubernetes": "a=b"}}, "/config/Kubernetes"),
    ],
)
def test_misshapen_values_are_told_and_left(config: Json, wrong: str) -> None:
    merged = first(config)
    assert merged.malformed == (wrong,)
    for path, value in flat(config):
        assert get(merged.values, path) == value
    assert given_back(merged) == config
    assert wrong in [change.pointer for change in differences(config, WANTED)]


def test_what_objects_show_is_compared_whatever_stands_in_the_users_place() -> None:
    assert differences(WANTED, WANTED) == ()
    (change,) = differences({**WANTED, "nodeSelector": {"workload": "other"}}, WANTED)
    assert (change.pointer, change.expected, change.actual) == ("/nodeSelector/workload", "connect-server", "other")
    (change,) = differences({**WANTED, **laid(RENDERED, [f"{DO_NOT_DISRUPT}=4h"])}, WANTED)
    assert change.pointer == "/config/Kubernetes/RenderedContentAnnotation[key=karpenter.sh/do-not-disrupt]"
    assert (change.expected, change.actual) == (RENDERED_TRUE, f"{DO_NOT_DISRUPT}=4h")
