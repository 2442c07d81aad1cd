"""The comparison of NodePools by chance: spellings, single edits, and whatever the API server may store."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.nodepools.compare import differences
from connect_autoscaler.nodepools.paths import transplant
from unit.pool_strategies import edits, pools, respelled

Json = dict[str, Any]


@given(pools())
def test_a_pool_does_not_differ_from_itself(one: Json) -> None:
    assert differences(one, copy.deepcopy(one)) == ()


@given(st.data())
def test_spelling_is_no_difference(data: st.DataObject) -> None:
    one = data.draw(pools())
    other = data.draw(respelled(one))
    assert differences(one, other) == ()


@given(st.data())
def test_one_edit_is_one_difference(data: st.DataObject) -> None:
    one = data.draw(pools())
    other, expected = data.draw(edits(one))
    (found,) = differences(one, data.draw(respelled(other)))
    assert found.path == expected.path
    assert (found.expected is None, found.actual is None) == (expected.expected is None, expected.actual is None)
    assert differences(one, other) == (expected,)


@given(st.data())
def test_copying_every_difference_makes_pools_equal(data: st.DataObject) -> None:
    one, other = data.draw(pools()), data.draw(pools())
    healed, adopted = copy.deepcopy(other), copy.deepcopy(one)
    for found in differences(one, other):
        transplant(healed, one, found.path)
        transplant(adopted, other, found.path)
    assert differences(one, healed) == ()
    # What we do not want to have in the metadata is no difference, so only specs are sure to be equal.
    assert differences({**adopted, "metadata": {}}, other) == ()


QUANTITIES = [
    "1",
    "1e3",
    "1e1.5",
    "-5",
    "+5",
    "-1Ki",
    "0.1m",
    "1e999",
    "1e-999999999999999999999",
    ".5",
    "5.",
    "9" * 50,
]


DURATIONS = ["0s", "1m1h", "Never", "999999999h", "99999999999999999999h", "9" * 400 + "s"]


BUDGET_DURATIONS = ["0h", "1h0s", "00h00m", "99999999999999999999h", "5m0s"]


FUTURE: list[Any] = [
    None,
    True,
    1.5,
    "",
    "x",
    [],
    {},
    [{}],
    {"a": []},
    {"a": {"b~/c": 1}},
    [{"key": "a", "effect": None}],
]


@given(pools(), st.data())
def test_whatever_the_api_server_stores_can_be_compared(wanted: Json, data: st.DataObject) -> None:
    live = data.draw(pools())
    future, quantity, duration = (data.draw(st.sampled_from(each)) for each in (FUTURE, QUANTITIES, DURATIONS))
    budget = {"duration": data.draw(st.sampled_from(BUDGET_DURATIONS)), "schedule": "a b c d e", "future": future}
    spec, inner = live["spec"], live["spec"]["template"]["spec"]
    spec["limits"] = {"cpu": quantity, "": 1, "a/b~c": 2**70}
    spec["disruption"] |= {"consolidateAfter": duration, "budgets": [budget]}
    inner["expireAfter"] = duration
    inner["requirements"] = [{"key": "a", "operator": "Soon", "values": ["1"], "future": future}]
    for place in (spec, inner, spec["disruption"], spec["template"]):
        place["future"] = future
    assert differences(live, copy.deepcopy(live)) == ()
    for each in differences(wanted, live):
        assert each.pointer.startswith("/")
        transplant(live, wanted, each.path)
    assert differences(wanted, live) == ()
