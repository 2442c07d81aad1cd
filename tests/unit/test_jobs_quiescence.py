"""What holds up a restart: everything but what is known to be interactive."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.jobs.model import Content, Job, QueueItem
from connect_autoscaler.jobs.quiescence import Hold, Holds, Quiescence, candidates, quiescence
from unit.job_builders import NOW, orphan, remote

APP = orphan("app", tag="run_app", remote_id=remote("run-app-abcde"))
REPORT = orphan("report", remote_id=remote("render-report-abcde"))


def test_nothing_runs() -> None:
    assert quiescence([], [], []) == Quiescence()
    assert quiescence([], [], []).quiet


def test_an_interactive_job_holds_nothing_up() -> None:
    found = quiescence(["run-app-abcde"], [], [APP])
    assert found == Quiescence((), ("run-app-abcde",))
    assert found.quiet


def test_so_does_its_pod() -> None:
    assert quiescence(["run-app-abcde-fghij"], [], [APP]).quiet
    assert not quiescence(["run-app-abcde-fghij-klmno"], [], [APP]).quiet


@pytest.mark.parametrize(
    ("tag", "what"),
    [
        ("build_report", Holds.RENDER),
        ("render_shiny", Holds.RENDER),
        ("packrat_restore", Holds.RESTORE),
        ("python_restore", Holds.RESTORE),
        ("git", Holds.OTHER),
        ("run_of_tomorrow", Holds.OTHER),
    ],
)
@pytest.mark.parametrize("status", [0, 1, None])
def test_whatever_else_runs_holds_up(tag: str, what: Holds, status: int | None) -> None:
    found = quiescence(["render-report-abcde"], [], [replace(REPORT, tag=tag, status=status)])
    assert found == Quiescence((Hold("render-report-abcde", what),))
    assert str(found.holding[0]) == f"render-report-abcde ({what})"


def test_what_connect_does_not_know_holds_up() -> None:
    assert quiescence(["stranger"], [], [APP]).holding == (Hold("stranger", Holds.UNKNOWN),)


@pytest.mark.parametrize(
    ("job", "quiet"),
    [
        (REPORT, True),
        (replace(REPORT, remote_id=None), False),
        (replace(REPORT, cluster="Local"), False),
        (replace(REPORT, remote_id=None, status=2), True),
        (replace(APP, remote_id=None), True),
    ],
)
def test_a_job_of_which_kubernetes_knows_nothing(job: Job, *, quiet: bool) -> None:
    assert quiescence([], [], [job]).quiet is quiet


@pytest.mark.parametrize(
    ("item", "hold"),
    [
        (QueueItem("1", job_type="render"), Hold("render", Holds.QUEUED)),
        (QueueItem("1", started=NOW), Hold("1", Holds.BEGUN)),
    ],
)
def test_the_queue_holds_up(item: QueueItem, hold: Hold) -> None:
    assert quiescence([], [item], []).holding == (hold,)


names = st.sets(st.from_regex(r"[a-z]{1,3}-[a-z]{1,3}", fullmatch=True), max_size=6)


@given(running=names, known=names, interactive=names)
def test_everything_that_runs_is_told_once(running: set[str], known: set[str], interactive: set[str]) -> None:
    jobs = [orphan(name, tag="run_app" if name in interactive else "build_report") for name in known]
    jobs = [replace(job, remote_id=remote(job.key)) for job in jobs]
    found = quiescence(running, [], jobs)
    assert sorted([*found.interactive, *(hold.name for hold in found.holding)]) == sorted(running)
    assert set(found.interactive) == running & known & interactive


CONTENTS = [
    Content("1", "r-markdown-site"),
    Content("2", "x", title="R Markdown: Site!"),
    Content("3", "r-markdown"),
    Content("4", "app"),
    Content("5", ""),
]


@pytest.mark.parametrize(
    ("name", "guids"),
    [
        ("render-r-markdown-site-kg82h", ("1", "2")),
        ("render-r-markdown-site-kg82h-x7pqr", ("1", "2")),
        ("render-r-markdow-kg82h", ("1", "2", "3")),
        ("run-app-abcde", ("4",)),
        ("run-other-abcde", ()),
        ("something", ()),
    ],
)
def test_whom_to_ask_about(name: str, guids: tuple[str, ...]) -> None:
    assert candidates([name], CONTENTS) == guids
