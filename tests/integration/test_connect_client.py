"""The client of Connect's API against a stand-in: what it asks, what it makes of faults, and that it keeps the key."""

import asyncio
import contextlib
import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connect_autoscaler.jobs.client import Connect, ConnectError, Fault
from connect_autoscaler.jobs.model import Schedule, Task, Variant, time_of
from connect_autoscaler.jobs.pace import Pace
from harness.connect_faults import Trouble
from harness.connect_server import ADMINISTRATOR, VIEWER, ConnectServer
from sandbox import eventually
from sandbox.components import free_ports

SOON = "2030-01-01T00:00:00Z"


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def pace(self) -> Pace:
        return Pace(clock=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
async def server() -> AsyncIterator[ConnectServer]:
    async with ConnectServer() as running:
        yield running


@pytest.fixture
async def connect(server: ConnectServer) -> AsyncIterator[Connect]:
    async with Connect(server.url, ADMINISTRATOR, pace=Clock().pace()) as client:
        yield client


async def failing(call: Awaitable[object]) -> ConnectError:
    """Return the error of a call, in which nothing is secret, however it is shown."""
    with pytest.raises(ConnectError) as raised:
        await call
    error = raised.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error)
    assert ADMINISTRATOR not in shown
    assert error.__context__ is None
    assert error.__cause__ is None
    assert "5ecret" not in error.message
    return error


async def test_asks_what_is_documented_and_nothing_else(server: ConnectServer, connect: Connect) -> None:
    server.add_host("connect-0")
    server.add_host("connect-1")
    server.lose("connect-1")
    schedule = {"variant_key": "main", "next_run": SOON}
    content = server.add_content("sales", schedules=[schedule], min_processes=2)
    guid = content["guid"]
    job = server.add_job(content, "build_report")
    assert await connect.version() == "2026.08.0"
    (host,) = await connect.hosts()
    assert (host.hostname, host.version) == ("connect-0", "2026.08.0")
    (item,) = await connect.content()
    assert (item.guid, item.name, item.rendered, item.min_processes) == (guid, "sales", True, 2)
    assert item.schedules == (Schedule("main", time_of(SOON)),)
    (found,) = await connect.jobs(guid)
    assert (found.key, found.content_guid, found.hostname, found.active) == (job["key"], guid, "connect-0", True)
    assert await connect.variants(guid) == (Variant("main", public=True),)
    rendered = await connect.render(guid, "main")
    built = await connect.build(guid, "7")
    assert await connect.task(rendered) == Task(finished=False)
    server.tasks[built] |= {"finished": True, "code": 1, "error": "no such package"}
    assert await connect.task(built) == Task(finished=True, error="no such package")
    assert [each["tag"] for each in server.jobs[guid]] == ["build_report", "build_report", "python_restore"]
    assert content["bundle_id"] == "1", "a restore must not publish"
    assert [(each.method, each.path, dict(each.query), each.body) for each in server.requests] == [
        ("GET", "server_settings", {}, None),
        ("GET", "v1/system/hosts", {"active": "true"}, None),
        ("GET", "v1/content", {"include": "schedule"}, None),
        ("GET", f"v1/content/{guid}/jobs", {}, None),
        ("GET", f"applications/{guid}/variants", {}, None),
        ("POST", f"v1/content/{guid}/render", {}, {"variant_key": "main"}),
        ("POST", f"v1/content/{guid}/build", {}, {"bundle_id": "7", "activate": False}),
        ("GET", f"v1/tasks/{rendered}", {}, None),
        ("GET", f"v1/tasks/{built}", {}, None),
    ]
    assert {each.authorization for each in server.requests} == {f"Key {ADMINISTRATOR}"}


async def test_runs_again_what_a_job_did(server: ConnectServer, connect: Connect) -> None:
    content = server.add_content("sales")
    guid = content["guid"]
    for tag in ("build_report", "packrat_restore"):
        server.add_job(content, tag, bundle_id="5")
    render, restore = await connect.jobs(guid)
    await connect.rerun(render)
    await connect.rerun(restore)
    assert [(each.path, each.body) for each in server.asked("POST")] == [
        (f"v1/content/{guid}/render", {"variant_key": "main"}),
        (f"v1/content/{guid}/build", {"bundle_id": "5", "activate": False}),
    ]
    for nothing in (replace(render, variant_key=None), replace(restore, bundle_id=None), replace(render, tag="git")):
        assert (await failing(connect.rerun(nothing))).fault is Fault.REFUSED
    assert len(server.asked("POST")) == 2


async def test_a_large_answer(server: ConnectServer, connect: Connect) -> None:
    for number in range(5000):
        server.add_content(f"report-{number}", description="x" * 500)
    assert [each.name for each in await connect.content()] == [f"report-{number}" for number in range(5000)]


async def test_the_version_may_be_hidden(server: ConnectServer, connect: Connect) -> None:
    server.version = None
    assert await connect.version() is None


@pytest.mark.parametrize("items", [0, 1, 499, 500, 501, 1001])
async def test_reads_every_page_of_the_queue(server: ConnectServer, connect: Connect, items: int) -> None:
    expected = [server.enqueue()["id"] for _ in range(items)]
    server.enqueue(name="git")
    assert [item.id for item in await connect.queue()] == expected
    assert len(server.requests) == max(1, -(-items // 500))


async def test_a_queue_that_changes_between_pages_ends(server: ConnectServer, connect: Connect) -> None:
    for _ in range(600):
        server.enqueue()
    reading = asyncio.create_task(connect.queue())
    await eventually(lambda: server.requests, interval=0.001)
    server.queue.clear()
    assert len(await reading) in {0, 500}


Call = Callable[[Connect], Awaitable[object]]
CALLS: dict[str, Call] = {
    "version": lambda connect: connect.version(),
    "hosts": lambda connect: connect.hosts(),
    "content": lambda connect: connect.content(),
    "jobs": lambda connect: connect.jobs("a-guid"),
    "variants": lambda connect: connect.variants("a-guid"),
    "queue": lambda connect: connect.queue(),
    "render": lambda connect: connect.render("a-guid", "main"),
    "build": lambda connect: connect.build("a-guid", "7"),
    "task": lambda connect: connect.task("a-task"),
    "sweep": lambda connect: anext(connect.sweep()),
}
TROUBLES: list[tuple[Trouble, Fault, bool]] = [
    (400, Fault.REFUSED, False),
    (401, Fault.UNAUTHORIZED, False),
    (403, Fault.FORBIDDEN, False),
    (409, Fault.REFUSED, False),
    (429, Fault.FAILED, True),
    (500, Fault.FAILED, True),
    (503, Fault.FAILED, True),
    ("no code", Fault.FAILED, True),
    ("html", Fault.UNREADABLE, False),
    ("reset", Fault.UNREACHABLE, True),
    ("redirect", Fault.REDIRECTED, False),
]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("trouble", "fault", "passing"), TROUBLES, ids=[str(each[0]) for each in TROUBLES])
async def test_every_call_tells_every_fault(
    server: ConnectServer, connect: Connect, call: Call, trouble: Trouble, fault: Fault, *, passing: bool
) -> None:
    server.trouble(trouble, to=server.url + "/elsewhere")
    error = await failing(call(connect))
    assert (error.fault, error.passing) == (fault, passing), error
    assert len(server.requests) == 1, "a failed request is not repeated by itself"


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_not_found_is_an_old_server_or_content_that_is_gone(
    server: ConnectServer, connect: Connect, call: Call
) -> None:
    server.trouble(404)
    error = await failing(call(connect))
    about_one = not {"a-guid", "a-task"}.isdisjoint(server.requests[0].path.split("/"))
    assert error.fault is (Fault.GONE if about_one else Fault.TOO_OLD)
    assert not error.passing


@pytest.mark.parametrize("call", [CALLS[name] for name in ("hosts", "content", "jobs", "queue", "render")])
async def test_an_answer_of_another_shape_is_none(server: ConnectServer, connect: Connect, call: Call) -> None:
    server.trouble("no shape")
    assert (await failing(call(connect))).fault is Fault.UNREADABLE


async def test_keys_that_are_wrong_or_no_administrators(server: ConnectServer) -> None:
    async with Connect(server.url, "nobodys-key") as client:
        assert (await failing(client.hosts())).fault is Fault.UNAUTHORIZED
    async with Connect(server.url, VIEWER) as client:
        assert (await failing(client.hosts())).fault is Fault.FORBIDDEN


@pytest.mark.parametrize("call", [CALLS["hosts"], CALLS["render"]], ids=["GET", "POST"])
async def test_a_redirect_takes_nothing_elsewhere(server: ConnectServer, connect: Connect, call: Call) -> None:
    async with ConnectServer() as other:
        server.trouble("redirect", to=f"{other.url}/__api__/v1/system/hosts")
        assert (await failing(call(connect))).fault is Fault.REDIRECTED
        assert other.requests == []


@pytest.mark.parametrize(("trouble", "read", "total"), [("hang", 0.2, 60), ("drip", 15, 0.4)])
async def test_no_answer_in_time(server: ConnectServer, trouble: Trouble, read: float, total: float) -> None:
    server.trouble(trouble, seconds=0.1)
    async with Connect(server.url, ADMINISTRATOR, read=read, total=total) as client:
        start = time.perf_counter()
        error = await failing(client.hosts())
        assert (error.fault, error.passing) == (Fault.TIMEOUT, True)
        assert time.perf_counter() - start < 3


async def test_slow_is_not_too_slow(server: ConnectServer) -> None:
    server.trouble("slow", seconds=0.3)
    async with Connect(server.url, ADMINISTRATOR, read=2) as client:
        assert await client.hosts() == ()


async def test_nobody_there() -> None:
    (port,) = free_ports(1)
    async with Connect(f"http://127.0.0.1:{port}", ADMINISTRATOR) as client:
        error = await failing(client.hosts())
    assert (error.fault, error.passing) == (Fault.UNREACHABLE, True)
    assert "connection refused" in error.message
    async with Connect("http://connect.invalid", ADMINISTRATOR) as client:
        assert "name of the host" in (await failing(client.hosts())).message


async def test_tls(server: ConnectServer) -> None:
    async with ConnectServer(tls=True) as secure, ConnectServer(tls=True) as other:
        async with Connect(secure.url, ADMINISTRATOR, ca=secure.ca) as client:
            assert await client.hosts() == ()
            guid = secure.add_content("sales")["guid"]
            assert await client.render(guid, "main")
        async with Connect(secure.url, ADMINISTRATOR, ca=other.ca + secure.ca) as client:
            assert await client.hosts() == ()
        before = len(secure.requests)
        for ca in (None, other.ca):
            async with Connect(secure.url, ADMINISTRATOR, ca=ca) as client:
                error = await failing(client.hosts())
            assert (error.fault, error.passing) == (Fault.UNTRUSTED, False)
            assert "certificate is not trusted" in error.message
        assert len(secure.requests) == before
        async with Connect(server.url.replace("http:", "https:"), ADMINISTRATOR, ca=secure.ca) as client:
            assert "https" in (await failing(client.hosts())).message


async def test_a_public_authority_is_not_trusted_beside_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ConnectServer(tls=True) as secure, ConnectServer(tls=True) as other:
        # Stands for the public ones: what requests would trust without `ca`.
        public = tmp_path / "public.crt"
        public.write_bytes(secure.ca)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(public))
        async with Connect(secure.url, ADMINISTRATOR) as client:
            assert await client.hosts() == ()
        async with Connect(secure.url, ADMINISTRATOR, ca=other.ca) as client:
            assert (await failing(client.hosts())).fault is Fault.UNTRUSTED


@pytest.mark.parametrize(
    ("url", "key", "ca"),
    [
        ("", ADMINISTRATOR, None),
        ("connect.example.com", ADMINISTRATOR, None),
        ("ftp://connect.example.com", ADMINISTRATOR, None),
        ("https://", ADMINISTRATOR, None),
        ("https://user:5ecret@connect.example.com", ADMINISTRATOR, None),
        ("https://connect.example.com?a=b", ADMINISTRATOR, None),
        ("https://connect.example.com:port", ADMINISTRATOR, None),
        ("https://connect.example.com", "", None),
        ("https://connect.example.com", "two words-5ecret", None),
        ("https://connect.example.com", "line\nline-5ecret", None),
        ("https://connect.example.com", "schlüssel-5ecret", None),
        ("https://connect.example.com", ADMINISTRATOR, b""),
        ("https://connect.example.com", ADMINISTRATOR, b"no certificate"),
        ("https://connect.example.com", ADMINISTRATOR, b"\xff\xfe"),
    ],
)
def test_what_is_misconfigured(url: str, key: str, ca: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONNECT_SERVER", "https://from-the-environment")
    monkeypatch.setenv("CONNECT_API_KEY", "from-the-environment")
    with pytest.raises(ConnectError) as raised:
        Connect(url, key, ca=ca)
    assert raised.value.fault is Fault.MISCONFIGURED
    assert "5ecret" not in f"{raised.value} {raised.value!r}"


async def test_a_key_as_secrets_have_it(server: ConnectServer) -> None:
    async with Connect(f"{server.url}/__api__/", f"{ADMINISTRATOR}\n") as client:
        assert await client.hosts() == ()
        assert ADMINISTRATOR not in repr(client) + repr(vars(client))


async def test_nothing_is_logged(server: ConnectServer, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await connect.hosts()
        server.trouble(500)
        await failing(connect.hosts())
    assert ADMINISTRATOR not in caplog.text


async def test_two_at_a_time(server: ConnectServer, connect: Connect) -> None:
    server.trouble("slow", seconds=0.3)
    await asyncio.gather(*(connect.hosts() for _ in range(5)))
    times = sorted(each.at for each in server.requests)
    assert all(later - earlier > 0.25 for earlier, later in zip(times, times[2:], strict=False))


async def test_a_call_that_is_cancelled_holds_up_nobody(server: ConnectServer, connect: Connect) -> None:
    server.trouble("hang", path="v1/queue")
    asked = asyncio.create_task(connect.queue())
    await eventually(lambda: server.requests, interval=0.001)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await connect.hosts() == ()


async def test_a_sweep_finds_what_is_active_and_what_is_newer(server: ConnectServer, connect: Connect) -> None:
    idle, busy, gone = (server.add_content(name) for name in ("idle", "busy", "gone"))
    server.add_job(idle, "build_report", status=2)
    jobs = [
        server.add_job(busy, "build_report", start_time=f"2026-01-01T0{hour}:00:00Z", status=status)
        for hour, status in ((1, 2), (2, 0), (3, 2), (4, 0))
    ]
    del server.jobs[gone["guid"]]
    found = [each async for each in connect.sweep()]
    assert [each.content.name for each in found] == ["idle", "busy"]
    assert [job.key for each in found for job in each.jobs] == [job["key"] for job in jobs[1:]]


async def test_a_sweep_can_be_stopped(server: ConnectServer, connect: Connect) -> None:
    for number in range(50):
        server.add_content(f"report-{number}")
    async with contextlib.aclosing(connect.sweep()) as sweep:
        async for found in sweep:
            assert found.content.name == "report-0"
            break
    await connect.hosts()
    await connect.hosts()
    assert len(server.asked(path="v1/content/")) <= 3


async def test_a_sweep_ends_with_the_first_failure(server: ConnectServer, connect: Connect) -> None:
    for number in range(9):
        server.add_content(f"report-{number}")
    server.trouble(500, path="v1/content/", times=1)
    assert (await failing(_all(connect))).fault is Fault.FAILED
    assert len(server.asked(path="v1/content/")) <= 2


async def test_a_thousand_items_cost_less_than_two_requests_a_second(server: ConnectServer) -> None:
    for number in range(1000):
        server.add_content(f"report-{number}")
    clock = Clock()
    async with Connect(server.url, ADMINISTRATOR, pace=clock.pace()) as client:
        assert len(await _all(client)) == 1000
    assert len(server.requests) == 1001
    rate = len(server.requests) / clock.now
    assert 1.5 < rate < 2, rate


async def _all(connect: Connect) -> list[Any]:
    return [each async for each in connect.sweep()]
