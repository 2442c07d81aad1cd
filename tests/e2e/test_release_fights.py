"""Who undoes the overlay of a release again and again is named, and left alone, since each correction is a restart."""

import asyncio
from itertools import count
from typing import Any

from e2e.release_stage import PATIENCE, Case, case
from harness import EVENTS, Api, Json, Operator
from harness.releases import SERVER
from integration.opponents import OPPONENT, Opponent, patching
from integration.written import STATUS, Written
from sandbox import eventually

AT_ANY_COST: dict[str, Any] = {
    "disruptions": {"when": "Immediately", "maxCorrectionsPerDay": 9},
    "driftPolicy": {"release": "Correct"},
}
CORRECTIONS = 2
"""Of the same opponent's changes, within a day."""
WHILE = 8.0


def selector(deployment: Json) -> Json:
    return dict(deployment["spec"]["template"]["spec"].get("nodeSelector", {}))


async def fighting(it: Case, *words: str) -> None:
    body = await it.profile.condition_is("Fighting", "True", "FightDetected", seconds=2 * PATIENCE)
    message = next(each["message"] for each in body["status"]["conditions"] if each["type"] == "Fighting")
    for word in words:
        assert word in message


async def test_over_a_live_object(operator: Operator) -> None:
    """Somebody takes the servers off their pool as soon as helm has put them there."""
    async with case(operator, **AT_ANY_COST) as it:
        await it.settled()
        before, kind = it.number, it.release.kind("deployments")
        strip = patching(
            kind,
            {"spec": {"template": {"spec": {"nodeSelector": None}}}},
            unless=lambda body: not selector(body),
        )
        async with Opponent(it.release.cluster, kind, SERVER, strip) as opponent:
            await fighting(it, "undid the overlay of the release again")
            await it.profile.condition_is("Ready", "False", "GuaranteeBroken")
            written = Written(it.release.cluster, [it.profile.name])
            moves, revisions = opponent.moves, it.number
            await asyncio.sleep(WHILE)
            assert (opponent.moves, it.number) == (moves, revisions)
            assert written.counts[STATUS] <= 2
        assert moves >= CORRECTIONS
        assert it.number <= before + CORRECTIONS
        told = [each["note"] for each in it.profile.api.list(EVENTS) if _begins_upgrade(each, it.profile.name)]
        assert len(told) == it.number - before + 1  # with the take-over
        assert all("; the servers restart" in note for note in told), told
        # He has stopped, and the user says so.
        digest = await eventually(lambda: it.profile.status["planDigest"])
        it.profile.annotate(approve=digest)
        await it.settled()
        assert it.number == revisions + 1
        assert selector(it.release.deployment())
        await it.profile.condition_is_absent("Fighting")


async def test_an_autoscaler_of_the_servers_is_no_opponent(operator: Operator) -> None:
    async with case(operator, **AT_ANY_COST) as it:
        await it.settled()
        before, kind, numbers = it.number, it.release.kind("deployments"), count()

        def scale(api: Api, body: Json) -> bool:
            scaled = {"spec": {"replicas": 2 - next(numbers) % 2}}
            api.merge(kind, body["metadata"]["name"], scaled, manager=OPPONENT, subresource="scale")
            return True

        written = Written(it.release.cluster, [it.profile.name])
        async with Opponent(it.release.cluster, kind, SERVER, scale) as opponent:
            await asyncio.sleep(WHILE)
            assert opponent.moves > CORRECTIONS
        it.release.api.merge(kind, SERVER, {"spec": {"replicas": 1}})
        await it.settled()
        assert it.number == before
        assert it.profile.condition("Fighting") is None
        assert written.counts[STATUS] <= 5 + 2 * WHILE


def _begins_upgrade(event: Json, profile: str) -> bool:
    return bool(event["regarding"].get("name") == profile and event["reason"] == "UpgradeStarted")
