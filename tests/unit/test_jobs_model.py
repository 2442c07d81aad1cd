"""What is read from the API's answers, and what is made of answers that are not as described."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.jobs.model import (
    Content,
    Host,
    Job,
    Kind,
    KubeJob,
    QueueItem,
    Schedule,
    Task,
    Variant,
    time_of,
)
from connect_autoscaler.jobs.remote import Remote, decode
from unit.job_builders import remote

TIME = "2026-11-23T11:22:33.123456789Z"
READ = datetime(2026, 11, 23, 11, 22, 33, 123456, tzinfo=UTC)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


def test_job() -> None:
    body = {
        "id": "40793542",
        "key": "tHawGvHZTosJA2Dx",
        "remote_id": remote("render-r-markdown-site-kg82h"),
        "variant_key": "WrEKKa77",
        "bundle_id": 54,
        "tag": "build_report",
        "status": 0,
        "hostname": "connect-7d9",
        "cluster": "Kubernetes",
        "start_time": TIME,
        "last_heartbeat_time": TIME,
        "queued_time": None,
    }
    job = Job.of(body, "guid")
    assert job == Job(
        key="tHawGvHZTosJA2Dx",
        content_guid="guid",
        tag="build_report",
        status=0,
        hostname="connect-7d9",
        cluster="Kubernetes",
        remote_id=remote("render-r-markdown-site-kg82h"),
        variant_key="WrEKKa77",
        bundle_id="54",
        started=READ,
        heartbeat=READ,
    )
    assert (job.active, job.kind, job.kube_job, job.began) == (True, Kind.RENDER, "render-r-markdown-site-kg82h", READ)


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ("build_report build_site build_jupyter configure_report render_shiny", Kind.RENDER),
        ("packrat_restore python_restore", Kind.RESTORE),
        ("run_app run_api run_tensorflow run_python_api run_dash_app run_streamlit run_bokeh_app", Kind.INTERACTIVE),
        ("run_panel_app run_fastapi_app run_gradio_app run_pyshiny_app run_voila_app", Kind.INTERACTIVE),
        ("git val_py_ext_pkg val_r_ext_pkg val_r_install testing unknown run_of_tomorrow", Kind.OTHER),
    ],
)
def test_kinds(tags: str, kind: Kind) -> None:
    assert {Job("key", "guid", tag).kind for tag in tags.split()} == {kind}


@given(
    st.dictionaries(
        st.sampled_from(["key", "tag", "status", "hostname", "cluster", "remote_id", "start_time", "variant_key"]),
        anything,
    )
)
def test_any_job_is_read_or_has_no_key(body: dict[str, Any]) -> None:
    if "key" in body:
        job = Job.of(body, "guid")
        assert job.kube_job is None or isinstance(job.kube_job, str)
    else:
        with pytest.raises(KeyError):
            Job.of(body, "guid")


def test_the_example_of_the_api_description() -> None:
    encoded = base64.b64encode(b"Kubernetes:render-r-markdown-site-kg82h").decode()
    assert decode(encoded) == Remote("Kubernetes", "render-r-markdown-site-kg82h")


@given(st.text(max_size=60) | st.none())
def test_what_is_no_remote_id_is_none(text: str | None) -> None:
    found = decode(text)
    assert found is None or remote(found.name, found.cluster) == (text or "") + "=" * (-len(text or "") % 4)


@pytest.mark.parametrize(
    "text",
    ["Kubernetes", "Kubernetes:", ":name", "Kubernetes:UPPER", "Kubernetes:a:b", "Kubernetes:-a", "Kubernetes:a-"],
)
def test_remote_ids_of_another_form(text: str) -> None:
    assert decode(base64.b64encode(text.encode()).decode()) is None


@pytest.mark.parametrize(
    ("text", "time"),
    [
        (TIME, READ),
        ("2026-11-23T12:22:33+01:00", READ.replace(microsecond=0)),
        ("2026-11-23T11:22:33Z", READ.replace(microsecond=0)),
        ("0001-01-01T00:00:00Z", None),
        ("2026-11-23T11:22:33", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1764000000, None),
    ],
)
def test_times(text: Any, time: datetime | None) -> None:
    assert time_of(text) == time


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = time_of(text)
    assert found is None or found.tzinfo is not None


def test_the_rest() -> None:
    assert Host.of({"hostname": "a", "version": "2026.08.0", "last_seen": TIME}) == Host("a", "2026.08.0", READ)
    item = {"id": "1", "name": "default", "job_type": "render", "created_time": TIME, "started_time": None}
    assert QueueItem.of(item) == QueueItem("1", "default", "render", READ)
    content = {"guid": "g", "name": "n", "app_mode": "quarto-static", "bundle_id": "5", "min_processes": 1}
    assert Content.of(content) == Content("g", "n", None, "quarto-static", "5", 1)
    scheduled = {**content, "schedules": [{"variant_key": "v", "next_run": TIME, "email": True}]}
    assert Content.of(scheduled).schedules == (Schedule("v", READ),)
    assert Task.of({"finished": False, "code": 0}) == Task(finished=False)
    assert Task.of({"finished": True, "code": 0, "error": ""}) == Task(finished=True)
    assert Task.of({"finished": True, "code": 1, "error": "no"}) == Task(finished=True, error="no")


@pytest.mark.parametrize(
    ("mode", "rendered"),
    [("rmd-static", True), ("jupyter-static", True), ("quarto-static", True), ("static", False), ("shiny", False)]
    + [(mode, False) for mode in ("python-gradio", "python-panel", "jupyter-voila", "unknown")],
)
def test_what_is_rendered(mode: str, *, rendered: bool) -> None:
    assert Content("guid", app_mode=mode).rendered is rendered


@pytest.mark.parametrize(
    ("fields", "public"),
    [
        ({"is_default": True}, True),
        ({"is_default": False, "visibility": "public"}, True),
        ({"is_default": False, "visibility": "private"}, False),
        ({"is_default": False}, False),
        ({}, False),
    ],
)
def test_variants_are_public_only_if_connect_says_so(fields: dict[str, Any], *, public: bool) -> None:
    assert Variant.of({"key": "k", **fields}) == Variant("k", public=public)


@pytest.mark.parametrize(
    ("conditions", "finished"),
    [
        (None, False),
        ([], False),
        ([{"type": "Complete", "status": "True"}], True),
        ([{"type": "Failed", "status": "True"}], True),
        ([{"type": "Complete", "status": "False"}], False),
        ([{"type": "Suspended", "status": "True"}], False),
        ([{"type": "FailureTarget", "status": "True"}], False),
    ],
)
def test_kubernetes_jobs(conditions: list[dict[str, str]] | None, *, finished: bool) -> None:
    assert KubeJob.of({"metadata": {"name": "a"}, "status": {"conditions": conditions}}) == KubeJob("a", finished)
    assert KubeJob.of({"metadata": {"name": "a"}}) == KubeJob("a", finished=False)
