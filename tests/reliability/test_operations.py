"""A sample of the operations: `python -m reliability.operations_campaign` carries out all of them."""

import copy
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from harness import Json, LocalOperator
from profile_specs import Spec
from reliability.operations import WHOLE, catalogue, localized, movable, properties, valid
from reliability.operations_campaign import LENGTH, alone, carry_out, chains, operated
from reliability.operations_oracles import canonical, undeclared
from unit.builders import live_pool, profile

SAMPLE = (1, 6)
"""A chain that begins with a full spec, and one that begins with a small one."""


@pytest.fixture(scope="module")
async def operator() -> AsyncIterator[LocalOperator]:
    async with alone() as running, operated(running) as found:
        yield found


async def test_chains_end_as_fresh_profiles_do(operator: LocalOperator) -> None:
    async for judged in carry_out(operator.cluster, SAMPLE, len(SAMPLE)):
        assert not judged.violations, judged.violations
        assert judged.accepted >= 3
        assert judged.refused >= 3
        assert judged.rolled_back
    assert "Traceback" not in operator.log()


def test_every_property_is_given_three_values() -> None:
    values = Counter(operation.of for operation in catalogue())
    assert [path for path in properties() if values[path] < 3] == []
    assert len(properties()) > 150


def test_there_are_two_thousand_operations_of_either_verdict() -> None:
    full, part = localized(WHOLE, "op-0"), catalogue()[::8]
    verdicts = Counter(valid(operation.applied(full, "op-0")) for operation in part)
    assert min(verdicts.values()) / len(part) > 1 / 3
    assert chains() * LENGTH >= 4000


def test_what_is_immutable_is_known() -> None:
    spec = localized(WHOLE, "op-0")
    other = copy.deepcopy(spec)
    assert movable(spec, other)
    other["placement"]["server"] = "x"
    assert not movable(spec, other)
    other = copy.deepcopy(spec)
    other["additionalContentPools"][0]["management"] = "External"
    assert not movable(spec, other)
    other["additionalContentPools"] = []
    assert movable(spec, other)


def _live(spec: Spec) -> dict[str, Json | None]:
    owner = profile(spec)
    return {pool.name: live_pool(owner, pool.name) for pool in owner.pools}


def _filled() -> Spec:
    """Return a spec that leaves nothing to the API server's defaults."""
    return localized(WHOLE, "op-0")


@pytest.mark.parametrize("field", ["weight", "limits", "disruption"])
def test_oracles_see_a_field_that_was_forgotten(field: str) -> None:
    spec = _filled()
    live = _live(spec)
    assert list(undeclared(spec, live)) == []
    name = spec["contentPool"]["name"]
    pool = live[name]
    assert pool is not None
    pool["spec"][field] = {}
    assert all(text.startswith(name) for text in undeclared(spec, live))
    assert list(undeclared(spec, live)) != []


@pytest.mark.parametrize("field", ["taints", "startupTaints", "expireAfter", "terminationGracePeriod", "requirements"])
def test_oracles_see_a_field_of_the_template_that_was_changed(field: str) -> None:
    spec = _filled()
    live = _live(spec)
    name = spec["additionalContentPools"][0]["name"]
    pool = live[name]
    assert pool is not None
    pool["spec"]["template"]["spec"][field] = {"expireAfter": "1h", "terminationGracePeriod": "1h"}.get(field, [])
    (said,) = undeclared(spec, live)
    assert said.startswith(f"{name} {field}: declared ")


def test_oracles_see_a_pool_that_is_missing() -> None:
    spec = _filled()
    assert len(list(undeclared(spec, {}))) == 3


def test_spellings_are_no_differences() -> None:
    one = {"limits": {"cpu": "1000m"}, "expireAfter": "60m", "values": ["b", "a", "b"]}
    assert canonical(one) == canonical({"limits": {"cpu": 1}, "expireAfter": "1h0s", "values": ["a", "b"]})
    assert canonical({"limits": {"cpu": "1001m"}}) != canonical({"limits": {"cpu": 1}})
    assert canonical({"weight": 1}) != canonical({"weight": 2})
