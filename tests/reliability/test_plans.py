"""A fixed sample of the campaign: every kind of fault in every workload."""

import pytest

from reliability.campaign import carry_out_all, undisturbed
from reliability.plans import Plan, plans, sample
from reliability.results import Result
from reliability.seen import Seen
from reliability.workloads import POOLS, RELEASES
from reliability.world import World

# A killed operator leaves behind what it had not begun yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <coroutine object:pytest.PytestUnraisableExceptionWarning"
)

SIZE = 60
ALWAYS = frozenset({"defer: gone at watch nodeclaims #1"})
"""Plans that have found faults of which no other test tells."""
ENOUGH = 600
"""The largest campaign that is known of another project has 584 plans."""
WITH_HELM = ("take-over", "restore")
"""Workloads with a release of which plans are carried out here: Helm takes its time."""
SIZE_WITH_HELM = 6
ENOUGH_WITH_HELM = 40
"""Of each workload with a release."""


@pytest.mark.timeout(900)
async def test_a_sample_of_the_plans(it: World) -> None:
    without = await undisturbed(it, tuple(POOLS))
    every = plans(without)
    assert len(every) >= ENOUGH
    assert len({plan.key for plan in every}) == len(every)
    chosen = {plan.key: plan for plan in (*sample(every, SIZE), *(plan for plan in every if plan.key in ALWAYS))}
    assert chosen.keys() >= ALWAYS
    await _all_survive(it, list(chosen.values()), without)


@pytest.mark.timeout(900)
async def test_a_sample_of_the_plans_with_a_release(it: World) -> None:
    assert set(WITH_HELM) <= RELEASES.keys()
    without = await undisturbed(it, WITH_HELM)
    every = plans(without)
    for name in WITH_HELM:
        assert sum(plan.workload == name for plan in every) > ENOUGH_WITH_HELM
    quick = [plan for plan in every if not plan.process]
    await _all_survive(it, sample(quick, SIZE_WITH_HELM), without)


async def _all_survive(it: World, chosen: list[Plan], without: dict[str, Seen]) -> None:
    found: list[Result] = []
    await carry_out_all(it, chosen, without, found.append, at_once=8)
    assert len(found) == len(chosen)
    bad = [(each.key, each.violations) for each in found if each.verdict in {"failed", "broken"}]
    assert bad == []
    assert [(each.key, each.alarms) for each in found if each.alarms] == []
    assert sum(each.verdict == "survived" for each in found) > len(chosen) * 0.9, "too many faults met nothing"
