"""Somebody undoes whatever the operator does, as fast as he sees it: no storm, no silence, and peace afterwards."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from harness import NODE_POOLS, PROFILES, Api, Json, LocalOperator, Profile, Workspace, unique
from integration.kstatus import kstatus
from integration.opponents import (
    LONG,
    MOST,
    OPPONENT,
    SHORT,
    STATUS_BURST,
    STATUS_PAUSE,
    Opponent,
    at_peace,
    fighting,
    patching,
)
from integration.refused import refused
from integration.written import FINALIZER, POOLS, STATUS, Written
from sandbox import eventually

AT_ONCE = 10.0
"""Seconds; milliseconds on a quiet machine, a minute if it were slowed down."""
DOMAIN: Final = "connect-autoscaler.io"
MARKS: Final[Json] = {f"{DOMAIN}/profile": None, "app.kubernetes.io/managed-by": None}
UID: Final[Json] = {f"{DOMAIN}/profile-uid": None}


async def healed(profile: Profile, limit: str) -> None:
    """Bend a limit, and see it corrected at once."""
    profile.api.merge(NODE_POOLS, profile.content, {"spec": {"limits": {"cpu": limit}}})
    await eventually(lambda: profile.pool(profile.content)["spec"]["limits"]["cpu"] == "64", timeout=AT_ONCE)


def corrections(written: Written, name: str, wanted: int) -> None:
    """Check how often an object was corrected; races that were lost on the way have to stay few."""
    tries = [each.code for each in written.entries if each.name == name and not each.subresource]
    assert sum(code < 300 for code in tries) == wanted
    assert len(tries) <= 2 * wanted


async def test_over_a_field(local_workspace: Workspace) -> None:
    spec = {"weight": 5, "limits": {"cpu": "64"}}
    profile, other = (local_workspace.profile(contentPool=spec) for _ in range(2))
    await profile.ready()
    await other.ready()
    written, all_of_it = (Written(local_workspace.cluster, names) for names in ([profile.content], [profile.name]))
    heavier = patching(NODE_POOLS, {"spec": {"weight": 6}}, unless=lambda pool: bool(pool["spec"].get("weight") == 6))
    began = time.monotonic()
    async with Opponent(local_workspace.cluster, NODE_POOLS, profile.content, heavier) as opponent:
        message = await fighting(profile, f"NodePool/{profile.content}/spec/weight")
        assert OPPONENT in message
        rounds = ["1", "2", "3"]
        for limit in rounds:
            await asyncio.gather(healed(profile, limit), healed(other, limit))
        await asyncio.sleep(began + LONG - time.monotonic())
        assert opponent.moves >= MOST
        assert written.counts == {POOLS: MOST + len(rounds)}
        assert all_of_it.counts[STATUS] <= STATUS_BURST + LONG / STATUS_PAUSE
        assert profile.pool(profile.content)["spec"]["weight"] == 6
        await fighting(profile, "/spec/weight")
        await profile.condition_is("Drifted", "True", "DriftDetected")
        (item,) = [item for item in profile.drift() if item["path"] == "/spec/weight"]
        assert (item["action"], item["reason"], item["manager"]) == ("Deferred", "FightDetected", OPPONENT)
    await at_peace(profile)
    assert profile.pool(profile.content)["spec"]["weight"] == 5


@pytest.mark.parametrize(
    ("take_over", "metadata"),
    [("Never", {"labels": MARKS}), ("Never", {"annotations": UID}), ("Always", {"labels": MARKS, "annotations": UID})],
    ids=["labels", "uid", "all"],
)
async def test_over_our_marks(local_workspace: Workspace, take_over: str, metadata: Json) -> None:
    profile = local_workspace.profile(takeOver=take_over)
    await profile.ready()
    before = profile.pool()["metadata"]
    gone = {(field, key) for field, keys in metadata.items() for key in keys}

    def unmarked(pool: Json) -> bool:
        return not any(key in pool["metadata"].get(field, {}) for field, key in gone)

    written = Written(local_workspace.cluster, [profile.server])
    strip = patching(NODE_POOLS, {"metadata": metadata}, unless=unmarked)
    async with Opponent(local_workspace.cluster, NODE_POOLS, profile.server, strip) as opponent:
        await fighting(profile, f"NodePool/{profile.server}/metadata/{next(iter(metadata))}/")
        await asyncio.sleep(SHORT)
        assert opponent.moves >= MOST
        assert written.counts == {POOLS: MOST}
    await at_peace(profile)
    after = profile.pool()["metadata"]
    assert all(after[field][key] == before[field][key] for field, key in gone)


async def test_a_pool_without_any_mark_is_not_ours_any_more(local_workspace: Workspace) -> None:
    profile = local_workspace.profile()
    await profile.ready()
    before = profile.pool()
    written = Written(local_workspace.cluster, [profile.server])
    profile.api.merge(NODE_POOLS, profile.server, {"metadata": {"labels": MARKS, "annotations": UID}})
    names = (profile.server, profile.content)
    await refused(profile, "NameTaken", profile.server, "takeOver", standing=names)
    profile.api.merge(NODE_POOLS, profile.server, {"spec": {"weight": 9}})
    await profile.condition_is("Stalled")
    assert await written.settled() == {}
    profile.api.merge(NODE_POOLS, profile.server, {"spec": {"weight": None}})
    profile.patch({"takeOver": "IfNoDiff"})
    await at_peace(profile)
    assert profile.pool()["metadata"]["labels"] == before["metadata"]["labels"]


async def test_over_the_finalizer_of_the_profile(local_workspace: Workspace) -> None:
    name = unique()
    # From before its creation: the finalizer may be there as soon as the profile is.
    written = Written(local_workspace.cluster, (name, f"{name}-server", f"{name}-content"))
    profile = local_workspace.profile(name)

    def ours(body: Json) -> list[str]:
        return [each for each in body["metadata"].get("finalizers", ()) if each.startswith(DOMAIN)]

    strip = patching(PROFILES, {"metadata": {"finalizers": None}}, unless=lambda body: not ours(body))
    async with Opponent(local_workspace.cluster, PROFILES, profile.name, strip) as opponent:
        await fighting(profile, f"ConnectAutoscalingProfile/{profile.name}/metadata/finalizers")
        await profile.ready()
        await asyncio.sleep(SHORT)
        assert opponent.moves >= MOST
        corrections(written, profile.name, MOST)
        counts = written.counts
        assert counts[POOLS] == 2
        assert counts[STATUS] <= STATUS_BURST + 1
    await at_peace(profile)
    await eventually(lambda: ours(profile.read()) == [f"{DOMAIN}/profile"])


async def test_over_the_existence_of_a_pool(local_workspace: Workspace) -> None:
    profile = local_workspace.profile()
    await profile.ready()
    written = Written.about(local_workspace.cluster, profile)

    def remove(api: Api, pool: Json) -> bool:
        api.delete(NODE_POOLS, pool["metadata"]["name"])
        return True

    async with Opponent(local_workspace.cluster, NODE_POOLS, profile.content, remove):
        await fighting(profile, f"NodePool/{profile.content}/")
        # The server's protection does not suffer from it.
        profile.api.merge(NODE_POOLS, profile.server, {"spec": {"weight": 9}})
        await eventually(lambda: "weight" not in profile.pool()["spec"], timeout=AT_ONCE)
        await asyncio.sleep(SHORT)
        await profile.condition_is("Ready", "False", "PoolMissing")
        corrections(written, profile.content, MOST)
        assert written.counts[STATUS] <= STATUS_BURST + LONG / STATUS_PAUSE
    await at_peace(profile)
    assert profile.pool(profile.content)["metadata"]["labels"][f"{DOMAIN}/profile"] == profile.name


async def test_over_the_status(local_workspace: Workspace) -> None:
    profile = local_workspace.profile()
    await profile.ready()
    before = told(profile.status)
    lie = {
        "type": "Ready",
        "status": "False",
        "reason": "Lie",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    lies = {
        "conditions": [lie, {**lie, "type": "Foreign"}],
        "server": "9/9",
        "attempt": {"id": "a-lie"},
        "nodePools": None,
    }
    lying = patching(
        PROFILES,
        {"status": lies},
        unless=lambda body: bool(body.get("status", {}).get("server") == "9/9"),
        subresource="status",
    )
    written = Written.about(local_workspace.cluster, profile)
    began = time.monotonic()
    async with Opponent(local_workspace.cluster, PROFILES, profile.name, lying) as opponent:
        await asyncio.sleep(LONG)
        lasted = time.monotonic() - began
        assert opponent.moves >= 3
        counts = written.counts
        assert counts.keys() == {STATUS}
        assert counts[STATUS] <= STATUS_BURST + lasted / STATUS_PAUSE
    await profile.ready()
    await eventually(lambda: told(profile.status) == before)
    await written.settled()
    # No lie stays that would be written over again and again.
    written = Written.about(local_workspace.cluster, profile)
    for number in range(3):
        profile.api.merge(PROFILES, profile.name, {"metadata": {"annotations": {"example.com/note": str(number)}}})
    assert await written.settled() == {}


def told(status: Json) -> Json:
    """Return what a status says, without times."""
    told = [{key: each[key] for key in ("type", "status", "reason", "message")} for each in status["conditions"]]
    return {**{key: value for key, value in status.items() if key != "lastCheckTime"}, "conditions": told}


async def test_over_a_name(local_workspace: Workspace, local_operator: LocalOperator) -> None:
    cluster = local_workspace.cluster
    written = Written(cluster)
    await local_operator.stop()  # so that neither is served before the other is there
    try:
        older = local_workspace.profile(unique("b"))
        created = datetime.fromisoformat(older.read()["metadata"]["creationTimestamp"])
        await eventually(lambda: datetime.now(UTC) >= created + timedelta(seconds=1))
        younger = local_workspace.profile(unique("a"), takeOver="Always", contentPool={"name": older.content})
    finally:
        await local_operator.start()
    await older.ready()
    await refused(younger, "PoolClaimedTwice", older.name, older.content, standing=[older.content])
    for profile in (younger, older, younger):
        profile.annotate(requestedAt=unique())
    older.api.delete(NODE_POOLS, older.content)
    await eventually(lambda: older.pool(older.content)["metadata"]["labels"][f"{DOMAIN}/profile"] == older.name)
    await older.ready()
    counts = await written.settled()
    assert counts[POOLS] == 3
    assert counts[FINALIZER] == 1
    assert counts[STATUS] <= 10
    await refused(younger, "PoolClaimedTwice", standing=[older.content])
    assert kstatus(older.read()) == "Current"
