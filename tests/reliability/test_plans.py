"""A fixed sample of the campaign: every kind of fault in every workload."""

import pytest

from reliability.campaign import carry_out_all, undisturbed
from reliability.plans import plans, sample
from reliability.results import Result
from reliability.world import World

SIZE = 64
ENOUGH = 600
"""The largest campaign that is known of another project has 584 plans."""


@pytest.mark.timeout(900)
async def test_a_sample_of_the_plans(it: World) -> None:
    without = await undisturbed(it)
    every = plans(without)
    assert len(every) >= ENOUGH
    assert len({plan.key for plan in every}) == len(every)
    found: list[Result] = []
    await carry_out_all(it, sample(every, SIZE), without, found.append, at_once=8)
    assert len(found) == SIZE
    bad = [(each.key, each.violations) for each in found if each.verdict in {"failed", "broken"}]
    assert bad == []
    assert [(each.key, each.alarms) for each in found if each.alarms] == []
    assert sum(each.verdict == "survived" for each in found) > SIZE * 0.9, "too many faults met nothing"
