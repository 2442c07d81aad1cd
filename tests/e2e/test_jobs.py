"""The operator and the Connect API: when nothing is disturbed, and what lost its server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from harness import Operator, Profile, Release, Workspace
from harness.connect_server import ADMINISTRATOR, ConnectServer
from harness.connect_state import remote_id
from sandbox import eventually

LONG_AGO = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
WRONG = "MARKER-SECRET-wrong"
RERUN = {"orphanedJobs": "Rerun"}


@asynccontextmanager
async def connected(
    operator: Operator, server: ConnectServer, key: str = ADMINISTRATOR, **spec: Any
) -> AsyncIterator[tuple[Profile, Release]]:
    """Have a release whose profile has access to a stand-in of the Connect API."""
    async with Workspace(operator.cluster) as workspace, Release(operator.cluster) as release:
        secret = {
            "kind": "Secret",
            "metadata": {"name": "connect-api"},
            "stringData": {"apiKey": key, "url": server.url},
        }
        release.api.create(release.kind("secrets"), secret)
        profile = workspace.profile(release=release.reference, connectAPI={"secretName": "connect-api"}, **spec)
        yield profile, release


async def test_a_restart_waits_for_the_queue(operator: Operator) -> None:
    async with ConnectServer() as server:
        server.add_host("connect-0")
        item = server.enqueue(job_type="build_report")
        async with connected(operator, server) as (profile, release):
            found = await profile.condition_is("Ready", "False", "Deferred", seconds=60)
            (planned,) = found["status"]["plan"]
            assert (planned["action"], planned["reason"]) == ("Upgrade", "ContentRunning")
            condition = profile.condition("ReleaseConfigured")
            assert condition is not None
            assert "build_report" in condition["message"]
            assert len(release.revisions()) == 1
            server.queue.remove(item)
            await profile.ready(seconds=90)
            assert len(release.revisions()) == 2
            assert not [each for each in server.asked("GET") if each.path.endswith("/jobs")], (
                "nothing ran: there was nothing to ask about"
            )


async def test_a_lost_render_is_run_again_once(operator: Operator) -> None:
    async with ConnectServer() as server:
        server.add_host("connect-0")
        lost = {"hostname": "connect-gone", "last_heartbeat_time": LONG_AGO, "start_time": LONG_AGO}
        report, app = server.add_content("report"), server.add_content("app", "shiny")
        server.add_job(report, "build_report", remote_id=remote_id("render-report-abcde"), **lost)
        server.add_job(app, "run_app", remote_id=remote_id("run-app-abcde"), **lost)
        async with connected(operator, server, recovery=RERUN) as (profile, _):
            await eventually(lambda: renders(server), timeout=60)
            orphans = await eventually(lambda: profile.status.get("orphans", {}).get("items"), timeout=60)
            (orphan,) = orphans
            assert (orphan["contentGUID"], orphan["action"]) == (report["guid"], "Rerun")
            await profile.ready(seconds=90)
            swept = len(server.asked("GET", "v1/system/hosts"))
            await operator.restart()  # it looks again, and does not try again
            await eventually(lambda: len(server.asked("GET", "v1/system/hosts")) > swept, timeout=60)
            await eventually(
                lambda: profile.status["orphans"]["items"][0]["reason"] in {"Tried", "Superseded"}, timeout=60
            )
            assert len(server.asked("POST")) == 1


async def test_a_wrong_key_costs_nothing_but_its_answers(operator: Operator) -> None:
    at_once = {"disruptions": {"when": "Immediately"}}
    async with ConnectServer() as server, connected(operator, server, WRONG, **at_once) as (profile, _):
        await profile.ready(seconds=90)
        limit = await eventually(lambda: unavailable(profile), timeout=30)
        assert "does not accept the API key" in limit["message"]
        assert WRONG not in operator.log()


def renders(server: ConnectServer) -> list[str]:
    """Return the paths of what was rendered on request."""
    return [each.path for each in server.asked("POST") if each.path.endswith("/render")]


def reason(profile: Profile) -> str:
    """Return why the first orphan is left alone."""
    return str(profile.status["orphans"]["items"][0]["reason"])


def unavailable(profile: Profile) -> dict[str, Any]:
    """Return the limitation that tells of the API."""
    return next(dict(each) for each in profile.status["limitations"] if each["name"] == "ConnectApiUnavailable")
