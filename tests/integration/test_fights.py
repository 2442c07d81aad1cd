"""Somebody undoes whatever the operator does, as fast as he sees it: no storm, no silence, and peace afterwards."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

import pytest
from pykube.exceptions import HTTPError

from harness import NODE_POOLS, PROFILES, Api, Json, Kind, LocalOperator, Profile, Workspace, unique, watch
from harness.background import Background, Signals
from integration.kstatus import assert_regular, conditions, kstatus
from integration.refused import refused
from integration.written import FINALIZER, POOLS, STATUS, Written
from sandbox import Cluster, eventually
from sandbox.access import client

OPPONENT: Final = "opponent-controller"
LONG, SHORT = 8.0, 3.0
"""Seconds of a fight; all of it is within the first minute."""
MOST = 6
"""Corrections of one path within a minute: more than five are a fight."""
AT_ONCE = 10.0
"""Seconds; milliseconds on a quiet machine, a minute if it were slowed down."""
STATUS_BURST, STATUS_PAUSE = 5, 2.0
"""Writes of a status that go without delay, and seconds between those that follow."""
DOMAIN: Final = "connect-autoscaler.io"
MARKS: Final[Json] = {f"{DOMAIN}/profile": None, "app.kubernetes.io/managed-by": None}
UID: Final[Json] = {f"{DOMAIN}/profile-uid": None}


class Opponent:
    """A controller that follows one object, and makes a move whenever it does not like what it sees.

    Args:
        cluster: Where.
        kind: Of the object.
        name: Of the object.
        move: Writes as this controller; tells whether there was anything to do.

    Attributes:
        moves: How often there was.
    """

    def __init__(self, cluster: Cluster, kind: Kind, name: str, move: Callable[[Api, Json], bool]) -> None:
        self.moves = 0
        self._cluster, self._kind, self._name, self._move = cluster, kind, name, move
        self._background = Background(OPPONENT, self._run)

    async def __aenter__(self) -> Self:
        await self._background.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._background.stop()

    async def _run(self, signals: Signals) -> None:
        stopping = asyncio.create_task(signals.stop.wait())
        fighting = asyncio.create_task(self._fight(signals.ready))
        await asyncio.wait({stopping, fighting}, return_when=asyncio.FIRST_COMPLETED)
        if fighting.done():
            fighting.result()
        fighting.cancel()

    async def _fight(self, started: asyncio.Event) -> None:
        http = client(self._cluster.kubeconfig)
        with contextlib.closing(http.session):
            async for event in watch(self._cluster, self._kind, started=started):
                if event.name == self._name and event.type != "DELETED":
                    with contextlib.suppress(HTTPError):  # gone meanwhile
                        self.moves += self._move(Api(http), event.object)


def patching(
    kind: Kind, patch: Mapping[str, Any], *, unless: Callable[[Json], bool], subresource: str = ""
) -> Callable[[Api, Json], bool]:
    """Return a move: a merge patch, unless it is in place already."""

    def move(api: Api, body: Json) -> bool:
        if unless(body):
            return False
        api.merge(kind, body["metadata"]["name"], patch, manager=OPPONENT, subresource=subresource)
        return True

    return move


async def fighting(profile: Profile, field: str) -> str:
    """Wait until a fight over a field is told; return the message."""
    body = await profile.condition_is("Fighting", "True", "FightDetected")
    assert_regular(body)
    message = str(conditions(body)["Fighting"]["message"])
    assert field in message
    return message


async def at_peace(profile: Profile) -> None:
    """Ask for a fresh start, and wait until all is well."""
    profile.annotate(requestedAt=unique())
    await profile.condition_is_absent("Fighting")
    body = await profile.ready()
    assert_regular(body)
    assert kstatus(body) == "Current"
    await profile.condition_is("Drifted", "False", "NoDriftDetected")


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
