"""Who is orphaned: no false positive and no miss over long histories, and every part of the rule at its edge."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from connect_autoscaler.jobs.model import Host, KubeJob
from connect_autoscaler.jobs.orphans import GRACE, Orphan, orphans
from unit.job_builders import ALIVE, NOW, PROVEN, SECOND, SOUND, UNPROVEN, Twist, history, orphan

HOSTS = [Host(ALIVE)]
KUBE_JOBS = [KubeJob("running-key", finished=False), KubeJob("over-key", finished=True)]


@given(seed=st.integers(0, 2**32), share=st.floats(0, 1))
# A history is known by its seed: a smaller number makes no simpler one.
@settings(max_examples=20, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_no_false_positive_and_no_miss_in_five_thousand_jobs(seed: int, share: float) -> None:
    past = history(seed, 5_000, share)
    found = orphans(past.jobs, past.hosts, past.kube_jobs, NOW)
    assert {each.job.key for each in found if each.proven} == past.proven
    assert {each.job.key for each in found if not each.proven} == past.unproven
    assert len(found) == len(past.proven) + len(past.unproven)


@pytest.mark.parametrize("twist", SOUND.values(), ids=SOUND)
def test_one_part_of_the_rule_is_missing(twist: Twist) -> None:
    assert orphans([twist(orphan())], HOSTS, KUBE_JOBS, NOW) == ()


@pytest.mark.parametrize("twist", PROVEN.values(), ids=PROVEN)
def test_proven(twist: Twist) -> None:
    job = twist(orphan())
    assert orphans([job], HOSTS, KUBE_JOBS, NOW) == (Orphan(job, proven=True),)


@pytest.mark.parametrize("twist", UNPROVEN.values(), ids=UNPROVEN)
def test_where_it_runs_cannot_be_told(twist: Twist) -> None:
    job = twist(orphan())
    assert orphans([job], HOSTS, KUBE_JOBS, NOW) == (Orphan(job, proven=False),)


def test_without_any_active_host_nothing_is_concluded() -> None:
    assert orphans([orphan()], [], [], NOW) == ()


@pytest.mark.parametrize("grace", [timedelta(0), timedelta(minutes=2), timedelta(minutes=5), timedelta(hours=1)])
def test_the_grace(grace: timedelta) -> None:
    limit = NOW - max(grace, timedelta(minutes=2))
    assert orphans([orphan(heartbeat=limit)], HOSTS, [], NOW, grace) == ()
    assert len(orphans([orphan(heartbeat=limit - SECOND)], HOSTS, [], NOW, grace)) == 1


def test_the_one_that_waits_longest_comes_first() -> None:
    jobs = [replace(orphan(key), heartbeat=NOW - GRACE - SECOND * age) for key, age in (("b", 2), ("c", 1), ("a", 2))]
    assert [each.job.key for each in orphans(jobs, HOSTS, [], NOW)] == ["a", "b", "c"]
