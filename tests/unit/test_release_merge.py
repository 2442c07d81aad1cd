"""The merge of values by chance: what holds of it whatever the user and the chart have set."""

import copy
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.api.pointers import pointer
from connect_autoscaler.release.lists import (
    LISTS,
    RENDERED,
    elements,
)
from connect_autoscaler.release.merge import Merged, differences, merge
from connect_autoscaler.release.overlay import DO_NOT_DISRUPT, SERVER_ANNOTATIONS
from connect_autoscaler.release.values import Path, effective, get, has, put, same
from unit.values_strategies import (
    OVERLAYS,
    UNRELATED,
    Edit,
    defaults,
    documents,
    helms,
    overlays,
    shuffled,
)

Json = dict[str, Any]

WANTED = OVERLAYS[0]
ANNOTATION = (*SERVER_ANNOTATIONS, DO_NOT_DISRUPT)


def first(config: Json, wanted: Json = WANTED, chart: Json | None = None) -> Merged:
    return merge(config, chart or {}, {}, wanted, {})


def after(merged: Merged, applied: Json, wanted: Json, chart: Json | None = None) -> Merged:
    """Merge again, with what an earlier merge left behind and its prior values as a Secret keeps them."""
    return merge(merged.values, chart or {}, applied, wanted, json.loads(json.dumps(merged.prior)))


def given_back(merged: Merged, applied: Json = WANTED, chart: Json | None = None) -> Json:
    back = after(merged, applied, {}, chart)
    assert back.prior == {}
    return back.values


def nulls(node: Any, path: Path = ()) -> Iterator[Path]:
    if node is None:
        yield path
    elif isinstance(node, dict | list):
        for key, below in node.items() if isinstance(node, dict) else enumerate(node):
            yield from nulls(below, (*path, str(key)))


def flat(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is no map, with lists as one value."""
    if isinstance(node, dict):
        for key, below in node.items():
            yield from flat(below, (*path, key))
    else:
        yield path, node


@given(documents(), defaults(), overlays())
def test_room_is_made_without_a_refusal(config: Json, chart: Json, wanted: Json) -> None:
    merged = first(config, wanted, chart)
    assert (merged.refused, merged.malformed) == ((), ())
    assert set(merged.prior) == {pointer(path) for path, _ in flat(wanted)}


@given(documents(), defaults(), overlays(), overlays())
def test_inputs_are_not_changed(config: Json, chart: Json, wanted: Json, later: Json) -> None:
    merged = first(config, wanted, chart)
    inputs = (config, chart, wanted, later, merged.values, merged.prior)
    before = json.dumps(inputs)
    again = after(merged, wanted, later, chart)
    again.values.clear()
    merge(merged.values, chart, wanted, {}, merged.prior)
    assert json.dumps(inputs) == before


@given(documents(), defaults(), overlays())
def test_what_is_made_shares_nothing_with_the_inputs(config: Json, chart: Json, wanted: Json) -> None:
    merged = first(config, wanted, chart)
    before = json.dumps((config, chart, wanted))
    _spoil(merged.values)
    assert json.dumps((config, chart, wanted)) == before


def _spoil(node: Any) -> None:
    for below in list(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()):
        _spoil(below)
    if isinstance(node, dict | list):
        node.clear()


@given(documents(), defaults(), overlays())
def test_nothing_of_the_users_is_lost_or_altered(config: Json, chart: Json, wanted: Json) -> None:
    merged = first(config, wanted, chart)
    for path, value in flat(config):
        if path in LISTS:
            lost = [json.loads(item) for item in _counted(value) - _counted(get(merged.values, path))]
            assert lost == [item for item in lost if path == RENDERED and _protects_nothing(item)]
        elif value is not None and path != ANNOTATION:
            assert get(merged.values, path) is value or get(merged.values, path) == value


def _counted(items: Any) -> Counter[str]:
    return Counter(json.dumps(item) for item in elements(items))


def _protects_nothing(entry: str) -> bool:
    name, _, value = entry.partition("=")
    return name == DO_NOT_DISRUPT and value not in {"true", "4h"}


@given(documents(), defaults(), overlays())
def test_the_users_elements_keep_their_order(config: Json, chart: Json, wanted: Json) -> None:
    merged = first(config, wanted, chart)
    for path in LISTS:
        if has(config, path):
            theirs, made = elements(get(config, path)), elements(get(merged.values, path))
            kept = [item for item in made[: len(theirs)] if item in theirs]
            assert kept == [item for item in theirs if item in kept]
            assert len(made) >= len(theirs)


@given(documents(), defaults(), overlays())
def test_everything_wanted_is_there_or_accounted_for(config: Json, chart: Json, wanted: Json) -> None:
    merged = first(config, wanted, chart)
    shown = differences(effective(chart, merged.values), wanted)
    assert {change.pointer for change in shown} == {change.pointer for change in merged.kept}


@given(documents(), defaults(), overlays())
def test_no_null_is_made(config: Json, chart: Json, wanted: Json) -> None:
    merged = first(config, wanted, chart)
    assert set(nulls(merged.values)) <= set(nulls(config))
    assert set(nulls(given_back(merged, wanted, chart))) <= set(nulls(config))


@given(documents(), defaults(), overlays())
def test_merging_again_changes_nothing(config: Json, chart: Json, wanted: Json) -> None:
    merged = first(config, wanted, chart)
    again = after(merged, wanted, wanted, chart)
    assert again.changes == ()
    assert json.dumps(again.values) == json.dumps(merged.values)
    assert again.prior == merged.prior
    assert again.kept == merged.kept


@given(st.data())
def test_spelling_and_order_are_no_difference(data: st.DataObject) -> None:
    config, chart, wanted = data.draw(documents()), data.draw(defaults()), data.draw(overlays())
    merged = first(config, wanted, chart)
    stored = helms(data.draw(st.composite(shuffled)(merged.values)))
    again = merge(stored, helms(chart), wanted, wanted, merged.prior)
    assert again.changes == ()
    assert again.values == stored


@given(documents(), defaults(), overlays())
def test_give_back_returns_what_was_there(config: Json, chart: Json, wanted: Json) -> None:
    merged = first(config, wanted, chart)
    assert json.dumps(given_back(merged, wanted, chart), sort_keys=True) == json.dumps(config, sort_keys=True)


@given(documents(), defaults(), st.lists(overlays(), min_size=2, max_size=3))
def test_give_back_after_the_overlay_changed(config: Json, chart: Json, wanted: list[Json]) -> None:
    applied: Json = {}
    merged = Merged(config, (), (), (), (), {})
    for each in wanted:
        merged = after(merged, applied, each, chart)
        applied = each
    assert json.dumps(given_back(merged, applied, chart), sort_keys=True) == json.dumps(config, sort_keys=True)


@given(documents(), defaults(), overlays(), overlays())
def test_the_way_to_an_overlay_does_not_matter(config: Json, chart: Json, one: Json, other: Json) -> None:
    straight = first(config, other, chart)
    round_about = after(first(config, one, chart), one, other, chart)
    assert _unordered(round_about.values) == _unordered(straight.values)
    assert round_about.prior == straight.prior
    assert {change.pointer for change in round_about.kept} == {change.pointer for change in straight.kept}


def _unordered(values: Json) -> Json:
    result = copy.deepcopy(values)
    for path in LISTS:
        if isinstance(items := get(result, path), list):
            put(result, path, sorted(items, key=json.dumps))
    return result


@given(documents(), defaults(), overlays(), overlays(), st.sampled_from(UNRELATED), st.sampled_from(UNRELATED))
def test_what_the_user_did_since_survives(
    config: Json, chart: Json, wanted: Json, later: Json, one: Edit, other: Edit
) -> None:
    config = _bare(config)  # a null would hide lists of the chart from this user that our maps then show him
    merged = first(config, wanted, chart)
    edited = other(one(merged.values, chart), chart)
    expected = other(one(config, chart), chart)
    assert same(_bare(merge(edited, chart, wanted, {}, merged.prior).values), _bare(expected)), "given back at once"
    again = merge(edited, chart, wanted, later, merged.prior)
    assert same(_bare(given_back(again, later, chart)), _bare(expected)), "given back after another merge"


def _bare(node: Any) -> Any:
    """The values without maps that hold nothing: an edit may leave one where the release had none."""
    if not isinstance(node, dict):
        return node
    return {key: bare for key, below in node.items() if (bare := _bare(below)) not in (None, {})}


@pytest.mark.parametrize("path", [*LISTS], ids=lambda path: path[-1])
@given(documents(), defaults(), overlays())
def test_elements_that_the_user_takes_out_stay_out(path: Path, config: Json, chart: Json, wanted: Json) -> None:
    merged = first(config, wanted, chart)
    if not has(merged.values, path):
        return
    emptied = copy.deepcopy(merged.values)
    put(emptied, path, [])
    again = merge(emptied, chart, wanted, wanted, merged.prior)
    assert elements(get(again.values, path)) == elements(get(wanted, path))
    assert elements(get(given_back(again, wanted, chart), path)) == []
