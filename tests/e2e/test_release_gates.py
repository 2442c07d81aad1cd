"""When an upgrade may start, what is said before, what goes on meanwhile, and what becomes of one that fails."""

import asyncio
import time
from typing import Any

from e2e.helm_door import HelmDoor, no_scheduling
from e2e.release_stage import PATIENCE, Case, case
from harness import NODE_POOLS, PROFILES, Json, Operator, Timeline
from harness.releases import HELM_ACCOUNT
from sandbox import eventually

CLOSED = {"when": "Immediately", "windows": [{"schedule": "0 0 29 2 *", "duration": "1m"}]}
SOON = 0.05


async def test_content_that_runs_is_not_orphaned(operator: Operator, door: HelmDoor) -> None:
    async with case(operator, content=("render-1", "render-2")) as it:
        await _waits(it, "ContentRunning")
        ready = await it.profile.condition_is("Ready", "False", "Deferred")
        await it.profile.condition_is("ReleaseConfigured", "False", "OverlayMissing")
        for part in ("render-1", "render-2", "Waits until content ends", "approval"):
            assert part in _message(it)
        told = next(c["message"] for c in ready["status"]["conditions"] if c["type"] == "Ready")
        assert f"connect-autoscaler.io/approve={ready['status']['planDigest']}" in told
        it.end_content("render-1")
        await eventually(lambda: "render-1" not in _message(it))
        assert it.statuses() == ["deployed"]
        assert "upgrade" not in [call.kind for call in door.calls(it.release)]

        it.end_content("render-2")  # nothing is in the way any more
        await it.settled()
        assert it.statuses() == ["superseded", "deployed"]

        # From now on renders carry the annotation; what starts without one is started again by its next visitor.
        await it.run_content("interactive")
        it.protect_content("4h")
        await it.settled()
        assert it.statuses() == ["superseded", "superseded", "deployed"]

        it.end_content("interactive")  # of the time before these servers: as good as a render
        await asyncio.sleep(1)  # the times of pods are whole seconds; who started in that of the server counts as older
        await it.run_content("visited")
        await it.run_content("render-3", do_not_disrupt="4h")
        it.protect_content("5h")
        planned = await _waits(it, "ContentRunning")
        assert "render-3" in _message(it)
        assert "visited" not in _message(it)
        assert planned["fields"]
        await operator.restart()  # what it goes by is the pods' own age
        await _waits(it, "ContentRunning")
        assert "render-3" in _message(it)
        assert "visited" not in _message(it)
        it.profile.annotate(approve="another-plan")
        await it.run_content("render-4", do_not_disrupt="4h")
        await eventually(lambda: "render-4" in _message(it))
        assert len(it.statuses()) == 3
        _approve(it)
        await it.settled()
        assert it.carries("5h")
        assert len(it.statuses()) == 4


async def test_nothing_starts_before_its_gate_is_open(operator: Operator, door: HelmDoor) -> None:
    async with case(operator, mode="Plan") as it:
        await eventually(lambda: (it.planned() or {}).get("action") == "Upgrade", timeout=PATIENCE)
        assert not it.profile.api.find(NODE_POOLS, it.profile.server)
        assert it.state() is None
        assert not {"upgrade", "rollback"} & {call.kind for call in door.calls(it.release)}

        it.profile.patch({"mode": "Enforce", "disruptions": {"when": "OnApproval"}})
        await _waits(it, "AwaitingApproval")
        it.profile.patch({"disruptions": CLOSED})
        await _waits(it, "OutsideWindow")
        it.profile.patch({"mode": "Plan", "disruptions": {"when": "Immediately", "windows": []}})
        await _waits(it, "PlanMode")
        assert not {"upgrade", "rollback"} & {call.kind for call in door.calls(it.release)}
        assert it.statuses() == ["deployed"]
        assert it.state() is None

        it.profile.patch({"mode": "Enforce", "disruptions": {"when": "OnApproval"}})
        await _waits(it, "AwaitingApproval")
        _approve(it)
        await it.settled()
        assert it.statuses() == ["superseded", "deployed"]


async def test_the_plan_stands_in_status_before_anything_starts(operator: Operator, taken: Case) -> None:
    audit, base = operator.cluster.audit, taken.number
    since = audit.marker()
    secrets = Timeline(operator.cluster, taken.release.kind("secrets"))
    async with secrets, Timeline(operator.cluster, PROFILES) as profiles:
        taken.protect_content("6h")
        await taken.settled()
        name = f"sh.helm.release.v1.connect.v{base + 1}"
        written = await secrets.until(lambda event: event.type == "ADDED" and event.name == name)
        told = await profiles.until(lambda event: _announces(event.object, taken))
    assert _version(told.object) < _version(written.object)

    writes = audit.writes(since=since)
    helm = f"system:serviceaccount:{taken.release.namespace}:{HELM_ACCOUNT}"
    created = next(i for i, w in enumerate(writes) if (w.verb, w.name, w.user) == ("create", name, helm))
    state = next(i for i, w in enumerate(writes) if w.user == operator.user and w.resource == "secrets")
    status = next(i for i, w in enumerate(writes) if w.name == taken.profile.name and w.subresource == "status")
    assert status < state < created


async def test_the_pools_are_healed_during_an_upgrade(operator: Operator, taken: Case) -> None:
    with no_scheduling(operator.cluster):
        taken.protect_content("7h")
        attempt = await eventually(lambda: _attempt(taken, "Upgrading"), timeout=PATIENCE, interval=SOON)
        await eventually(lambda: taken.last["info"]["status"] == "pending-upgrade", timeout=PATIENCE, interval=SOON)
        took = [await _heals(operator, taken) for _ in range(5)]
        print("healed during an upgrade within", [f"{seconds * 1000:.0f} ms" for seconds in took])
        assert sorted(took)[2] < 1
        assert operator.healthy()
        assert _attempt(taken, "Upgrading") == attempt
        assert taken.last["info"]["status"] == "pending-upgrade"
        assert taken.profile.condition("Reconciling")
    await taken.settled()


async def test_a_failed_upgrade_is_rolled_back_and_not_tried_again(operator: Operator, taken: Case) -> None:
    base = taken.number
    with no_scheduling(operator.cluster):
        taken.profile.patch({"release": {"timeout": "6s"}, "content": {"renderedDoNotDisrupt": "8h"}})
        await taken.profile.condition_is("ReleaseConfigured", "False", "RolledBack", seconds=PATIENCE)
        await taken.profile.condition_is("Ready", "False", "RolledBack")
    assert taken.statuses(since=base) == ["failed", "deployed"]
    assert not taken.carries("8h")
    # The cause is gone, passes are made, helm could run: all that is missing is somebody who says so.
    for _ in range(3):
        await _heals(operator, taken)
    await operator.restart()
    await taken.profile.condition_is("ReleaseConfigured", "False", "RolledBack")
    await _heals(operator, taken)
    assert taken.statuses(since=base) == ["failed", "deployed"]
    taken.profile.annotate(requestedAt="now")
    await taken.settled()
    assert taken.statuses(since=base) == ["failed", "superseded", "deployed"]
    assert taken.carries("8h")


def _message(it: Case) -> str:
    return str((it.profile.condition("ReleaseConfigured") or {}).get("message", ""))


def _approve(it: Case) -> None:
    it.profile.annotate(approve=it.profile.status["planDigest"])


async def _waits(it: Case, reason: str) -> Json:
    """Wait until the upgrade is planned, and waits for this."""

    def check() -> Json:
        assert it.profile.status["observedGeneration"] == it.profile.read()["metadata"]["generation"]
        planned = it.planned()
        assert planned is not None, it.profile.status["conditions"]
        found = (planned["action"], planned["disruption"], planned["reason"])
        assert found == ("Upgrade", "RestartsServer", reason), planned
        return planned

    return await eventually(check, timeout=PATIENCE, interval=SOON)


def _announces(profile: Json, it: Case) -> bool:
    plan: list[dict[str, Any]] = profile.get("status", {}).get("plan", [])
    wanted = ("Upgrade", it.target, "RestartsServer")
    return any((each["action"], each["target"], each["disruption"]) == wanted for each in plan)


def _version(body: Json) -> int:
    """Return the resourceVersion: one counter for all of etcd."""
    return int(body["metadata"]["resourceVersion"])


def _attempt(it: Case, phase: str) -> Json | None:
    attempt = it.profile.status.get("attempt")
    return attempt if attempt and attempt["phase"] == phase else None


async def _heals(operator: Operator, it: Case) -> float:
    """Bend a NodePool; return after how many seconds it is as before."""
    weight = it.profile.pool()["spec"].get("weight")
    async with Timeline(operator.cluster, NODE_POOLS) as pools:
        start = time.perf_counter()
        await asyncio.to_thread(it.profile.api.merge, NODE_POOLS, it.profile.server, {"spec": {"weight": 77}})
        bent = await pools.until(lambda e: e.name == it.profile.server and e.object["spec"].get("weight") == 77)
        since = pools.events.index(bent)
        healed = await pools.until(
            lambda e: e.name == it.profile.server and e.object["spec"].get("weight") == weight, since=since
        )
    return healed.at - start
