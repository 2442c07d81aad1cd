"""What is run again, and for every reason not to the nearest case in which it is."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.api.policies import OrphanPolicy, Recovery
from connect_autoscaler.jobs.model import Content, Job, Kind, QueueItem, Schedule, Variant
from connect_autoscaler.jobs.orphans import Orphan
from connect_autoscaler.jobs.recovery import NEAR, Action, Decision, Known, Why, decide
from unit.job_builders import NOW, SECOND, orphan

RERUN = Recovery(orphaned_jobs=OrphanPolicy.RERUN)
REPORT = Recovery()
RENDER = orphan()
RESTORE = orphan(tag="python_restore", variant_key=None)
CONTENT = Content("guid", "sales", app_mode="quarto-static", bundle_id="7")
KNOWN = Known(
    jobs=(RENDER, RESTORE),
    contents={"guid": CONTENT},
    variants={"guid": (Variant("main", public=True), Variant("mine", public=False))},
)
BEGAN = RENDER.began or NOW
HOUR = timedelta(hours=1)


def one(job: Job = RENDER, known: Known = KNOWN, policy: Recovery = RERUN, *, proven: bool = True) -> Decision:
    (decision,) = decide([Orphan(job, proven)], known, policy, NOW)
    assert decision.job is job
    return decision


def scheduled(*schedules: Schedule) -> Known:
    return replace(KNOWN, contents={"guid": replace(CONTENT, schedules=schedules)})


def newer(**fields: object) -> Known:
    job = orphan("newer", started=BEGAN + SECOND, status=2)
    return replace(KNOWN, jobs=(RENDER, RESTORE, replace(job, **fields)))  # type: ignore[arg-type]


def queued(item: QueueItem, *schedules: Schedule) -> Known:
    return replace(scheduled(*schedules), queue=(item,))


DAILY = Schedule("main", NOW + timedelta(days=1))
LATER = QueueItem("1", created=BEGAN + SECOND)


def test_a_render_is_rendered_again() -> None:
    assert one() == Decision(RENDER, Action.RERUN, Why.RENDERED_AGAIN)


def test_a_restore_is_restored_again() -> None:
    assert one(RESTORE) == Decision(RESTORE, Action.RERUN, Why.RESTORED_AGAIN)


@pytest.mark.parametrize("tag", ["run_app", "run_gradio_app"])
@pytest.mark.parametrize("policy", [RERUN, REPORT])
def test_interactive_never(tag: str, policy: Recovery) -> None:
    decision = one(orphan(tag=tag), policy=policy)
    assert (decision.action, decision.why) == (Action.SKIPPED, Why.INTERACTIVE)


@pytest.mark.parametrize("job", [RENDER, RESTORE, orphan(tag="git")])
def test_report_only_reports(job: Job) -> None:
    decision = one(job, policy=REPORT)
    assert (decision.action, decision.why) == (Action.REPORTED, Why.REPORT_ONLY)


Case = Callable[[], Decision]
# For every reason a case of it, and the nearest one that is run again.
NEIGHBOURS: list[tuple[Why, Case, Case]] = [
    (Why.NOT_PROVEN, lambda: one(proven=False), one),
    (Why.NOT_REPEATABLE, lambda: one(orphan(tag="git")), lambda: one(orphan(tag="build_site"))),
    (Why.NOT_REPEATABLE, lambda: one(orphan(tag="tomorrows")), lambda: one(orphan(tag="build_jupyter"))),
    (Why.CONTENT_UNKNOWN, lambda: one(known=replace(KNOWN, contents={"other": CONTENT})), one),
    (
        Why.CONTENT_UNKNOWN,
        lambda: one(known=replace(KNOWN, contents={"guid": replace(CONTENT, app_mode="shiny")})),
        lambda: one(RESTORE, replace(KNOWN, contents={"guid": replace(CONTENT, app_mode="shiny")})),
    ),
    (Why.VARIANT_NOT_PUBLIC, lambda: one(orphan(variant_key="mine")), lambda: one(orphan(variant_key="main"))),
    (Why.VARIANT_NOT_PUBLIC, lambda: one(orphan(variant_key="ad-hoc")), one),
    (Why.VARIANT_NOT_PUBLIC, lambda: one(orphan(variant_key=None)), one),
    (Why.VARIANT_NOT_PUBLIC, lambda: one(known=replace(KNOWN, variants={})), one),
    (Why.BUNDLE_UNKNOWN, lambda: one(replace(RESTORE, bundle_id=None)), lambda: one(orphan(bundle_id=None))),
    (Why.SUPERSEDED, lambda: one(known=newer()), lambda: one(known=newer(started=BEGAN))),
    (Why.SUPERSEDED, lambda: one(known=newer(started=None)), lambda: one(known=newer(variant_key="other"))),
    (Why.SUPERSEDED, lambda: one(known=newer(status=0)), lambda: one(known=newer(status=3))),
    (Why.SUPERSEDED, lambda: one(known=newer(tag="build_site")), lambda: one(known=newer(tag="run_app"))),
    (Why.SUPERSEDED, lambda: one(known=newer(status=1)), lambda: one(known=newer(content_guid="other"))),
    (
        Why.SUPERSEDED,
        lambda: one(RESTORE, newer(tag="packrat_restore", variant_key=None, bundle_id="8")),
        lambda: one(RESTORE, newer(bundle_id="8")),
    ),
    (
        Why.SUPERSEDED,
        lambda: one(known=newer(started=None, queued=BEGAN + SECOND)),
        lambda: one(known=newer(started=None, queued=BEGAN - SECOND)),
    ),
    (
        Why.SCHEDULED,
        lambda: one(known=scheduled(Schedule("main", NOW + NEAR))),
        lambda: one(known=scheduled(Schedule("main", NOW + NEAR + SECOND))),
    ),
    (
        Why.SCHEDULED,
        lambda: one(known=scheduled(Schedule("main", NOW - NEAR))),
        lambda: one(known=scheduled(Schedule("main", NOW - NEAR - SECOND))),
    ),
    (
        Why.SCHEDULED,
        lambda: one(known=scheduled(DAILY, Schedule(None, NOW))),
        lambda: one(known=scheduled(DAILY, Schedule("other", NOW))),
    ),
    (
        Why.SCHEDULED,
        lambda: one(known=scheduled(Schedule("main", NOW))),
        lambda: one(RESTORE, scheduled(Schedule("main", NOW))),
    ),
    (
        Why.SCHEDULED,
        lambda: one(known=scheduled(Schedule("main", NOW))),
        lambda: one(known=scheduled(Schedule("main"))),
    ),
    (Why.QUEUED, lambda: one(known=queued(LATER, DAILY)), lambda: one(known=queued(LATER))),
    (
        Why.QUEUED,
        lambda: one(known=queued(LATER, DAILY)),
        lambda: one(known=queued(LATER, replace(DAILY, variant_key="other"))),
    ),
    (
        Why.QUEUED,
        lambda: one(known=queued(replace(LATER, created=None), DAILY)),
        lambda: one(known=queued(replace(LATER, created=BEGAN), DAILY)),
    ),
    (
        Why.QUEUED,
        lambda: one(known=queued(replace(LATER, content_guid="guid"))),
        lambda: one(known=queued(replace(LATER, content_guid="other"), DAILY)),
    ),
    (
        Why.QUEUED,
        lambda: one(known=queued(replace(LATER, content_guid="guid", variant_key="main"))),
        lambda: one(known=queued(replace(LATER, content_guid="guid", variant_key="other"))),
    ),
    (Why.QUEUED, lambda: one(known=queued(LATER, DAILY)), lambda: one(RESTORE, queued(LATER, DAILY))),
    (
        Why.TRIED,
        lambda: one(known=replace(KNOWN, tried={RENDER.key})),
        lambda: one(known=replace(KNOWN, tried={"another"})),
    ),
    (
        Why.HOURLY_LIMIT,
        lambda: one(known=replace(KNOWN, reruns=[NOW - HOUR + SECOND] * 10)),
        lambda: one(known=replace(KNOWN, reruns=[NOW - HOUR + SECOND] * 9 + [NOW - HOUR] * 9)),
    ),
]
REPORTED = {Why.NOT_PROVEN, Why.NOT_REPEATABLE, Why.CONTENT_UNKNOWN, Why.VARIANT_NOT_PUBLIC, Why.BUNDLE_UNKNOWN}


@pytest.mark.parametrize(("why", "case", "neighbour"), NEIGHBOURS, ids=[str(each[0]) for each in NEIGHBOURS])
def test_a_reason_and_its_nearest_neighbour(why: Why, case: Case, neighbour: Case) -> None:
    decision = case()
    assert decision.why is why
    assert decision.action is (Action.REPORTED if why in REPORTED else Action.SKIPPED)
    assert neighbour().action is Action.RERUN


def test_every_reason_is_met() -> None:
    met = {each[0] for each in NEIGHBOURS}
    assert met == set(Why) - {Why.RENDERED_AGAIN, Why.RESTORED_AGAIN, Why.REPORT_ONLY, Why.INTERACTIVE}


def test_of_two_orphans_of_one_variant_the_newer_is_run_again() -> None:
    older, newest = orphan("older", started=BEGAN - HOUR), orphan("newest")
    found = decide(
        [Orphan(older, proven=True), Orphan(newest, proven=True)], replace(KNOWN, jobs=(older, newest)), RERUN, NOW
    )
    assert [each.why for each in found] == [Why.SUPERSEDED, Why.RENDERED_AGAIN]


def test_of_two_that_began_together_only_one() -> None:
    twins = orphan("a"), orphan("b")
    found = decide([Orphan(each, proven=True) for each in twins], replace(KNOWN, jobs=twins), RERUN, NOW)
    assert [each.why for each in found] == [Why.RENDERED_AGAIN, Why.SUPERSEDED]


@given(
    guids=st.lists(st.sampled_from([f"guid-{n}" for n in range(30)]), max_size=60),
    spent=st.lists(st.integers(0, 7200), max_size=12),
    limit=st.integers(1, 12),
    tried=st.sets(st.integers(0, 59)),
)
def test_never_more_than_allowed_nor_twice(guids: list[str], spent: list[int], limit: int, tried: set[int]) -> None:
    jobs = [orphan(str(n), content_guid=guid, started=BEGAN + SECOND * n) for n, guid in enumerate(guids)]
    known = Known(
        jobs=jobs,
        contents={guid: replace(CONTENT, guid=guid) for guid in guids},
        variants={guid: (Variant("main", public=True),) for guid in guids},
        tried={str(n) for n in tried},
        reruns=[NOW - SECOND * age for age in spent],
    )
    policy = Recovery(orphaned_jobs=OrphanPolicy.RERUN, max_per_hour=limit)
    found = decide([Orphan(job, proven=True) for job in jobs], known, policy, NOW)
    assert [each.job for each in found] == jobs
    again = [each.job for each in found if each.action is Action.RERUN]
    assert len(again) <= max(0, limit - sum(age < 3600 for age in spent))
    assert not {job.key for job in again}.intersection(known.tried)
    assert len({(job.kind is Kind.RENDER, job.content_guid) for job in again}) == len(again)


def test_the_item_of_the_status() -> None:
    written = one().status.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert written == {
        "contentGUID": "guid",
        "jobKey": "key",
        "tag": "build_report",
        "variantKey": "main",
        "hostname": "connect-gone",
        "lastHeartbeat": "2026-11-23T11:54:59Z",
        "action": "Rerun",
        "reason": "RenderedAgain",
    }


@given(st.text(min_size=1, max_size=400), st.text(max_size=400))
def test_the_status_takes_whatever_connect_says(key: str, other: str) -> None:
    job = orphan(key, tag=other or "unknown", variant_key=other or None, hostname=other or None, heartbeat=None)
    assert len(one(job).status.job_key) <= 64


@pytest.mark.parametrize("why", list(Why))
def test_reasons_explain_themselves(why: Why) -> None:
    assert why.explain.endswith(".")
    assert len(why.value) <= 32
