"""Who upgrades, and when: two releases at a time, a release by one profile, and nothing that was decided long ago."""

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import pytest

from e2e.helm_door import HelmDoor
from e2e.release_stage import AT_ONCE, PATIENCE, Case, case
from harness import Json, Operator, Profile, Workspace
from harness.releases import HELM_ACCOUNT
from sandbox import eventually

TAKEN_OVER_WITHIN = 10.0
"""Seconds; far less than the interval, which is five minutes."""


@pytest.mark.long
async def test_what_waits_for_its_turn_is_decided_anew_when_it_comes(operator: Operator, door: HelmDoor) -> None:
    async with AsyncExitStack() as stack:
        spec: Json = {"disruptions": {"when": "OnApproval"}}
        cases = [await stack.enter_async_context(case(operator, **spec)) for _ in range(4)]
        for it in cases:
            await eventually(partial(it.planned), timeout=PATIENCE)
        *first, suspended, busy = cases
        held = [await stack.enter_async_context(door.hold("before-upgrade", it.release)) for it in first]
        for it in first:
            it.profile.patch(AT_ONCE)
        for each in held:
            await each.reached()
        suspended.profile.patch(AT_ONCE)
        busy.profile.patch({"disruptions": {"when": "WhenIdle"}})
        for it in (suspended, busy):
            await eventually(partial(_phase_is, it, "Waiting"), timeout=PATIENCE)
            assert (it.profile.condition("Reconciling") or {})["status"] == "True"
        suspended.profile.patch({"suspend": True})
        await busy.run_content("render-1")
        for each in held:
            each.let_go()
        for it in first:
            await it.settled()
        await suspended.profile.condition_is("Ready", "False", "Deferred")
        await eventually(lambda: (busy.planned() or {})["reason"] == "ContentRunning", timeout=PATIENCE)
        assert suspended.statuses() == busy.statuses() == ["deployed"]
        assert not [call for it in (suspended, busy) for call in door.calls(it.release) if call.kind == "upgrade"]
        busy.end_content("render-1")
        suspended.profile.patch({"suspend": False})
        for it in (busy, suspended):
            await it.settled()
            assert it.statuses() == ["superseded", "deployed"]


async def test_who_has_taken_a_release_over_keeps_it_until_he_lets_go(operator: Operator) -> None:
    async with Workspace(operator.cluster) as workspace, case(operator, driftPolicy={"release": "Ignore"}) as it:
        older = it.profile
        younger = workspace.profile(release=it.release.reference, **AT_ONCE)
        await younger.condition_is("ReleaseConfigured", seconds=PATIENCE)
        older.patch({"driftPolicy": {"release": "Warn"}})
        await older.condition_is("ReleaseConfigured", "False", "ReleaseClaimedTwice")
        await younger.condition_is("ReleaseConfigured")
        revisions = it.number

        async def takes_over(heir: Profile, act: Callable[[], object]) -> None:
            start = time.perf_counter()
            act()
            await eventually(partial(_has_it, heir), timeout=60, interval=0.05)
            took = time.perf_counter() - start
            print(f"taken over after {took * 1000:.0f} ms")
            assert took < TAKEN_OVER_WITHIN

        await takes_over(older, lambda: younger.patch({"driftPolicy": {"release": "Ignore"}}))
        await younger.condition_is_absent("ReleaseConfigured")
        younger.patch({"driftPolicy": {"release": "Warn"}})
        await eventually(partial(_has_it, older))
        assert it.number == revisions, "both want values of their own at one key: nothing is written"


async def test_who_deletes_his_profile_lets_go_at_once(operator: Operator) -> None:
    async with Workspace(operator.cluster) as workspace, case(operator, **AT_ONCE) as it:
        await it.settled()
        heir = workspace.profile(release=it.release.reference, **AT_ONCE)
        await heir.condition_is("ReleaseConfigured", "False", "ReleaseClaimedTwice")
        start = time.perf_counter()
        it.profile.delete()
        await it.profile.gone()
        await eventually(partial(_has_it, heir), timeout=60, interval=0.05)
        assert time.perf_counter() - start < TAKEN_OVER_WITHIN


async def test_who_never_runs_helm_needs_nobody_to_run_it_as(operator: Operator) -> None:
    async with case(operator, release={"manager": "Export", "serviceAccountName": None}) as it:
        await it.profile.condition_is("ReleaseConfigured", "False", "OverlayExported", seconds=PATIENCE)
        it.profile.patch({"release": {"manager": "Helm"}})
        await it.profile.condition_is("ReleaseConfigured", "False", "ServiceAccountRequired")
        it.profile.patch({"release": {"manager": "Auto"}})
        await it.profile.condition_is("ReleaseConfigured", "False", "ServiceAccountRequired")
        it.profile.patch({"release": {"serviceAccountName": HELM_ACCOUNT}, **AT_ONCE})
        await it.settled()


async def test_an_export_is_withdrawn_when_its_profile_goes(operator: Operator) -> None:
    policy: Json = {"deletionPolicy": {"release": "Restore"}}
    async with case(operator, release={"manager": "Export"}, **policy) as it:
        await it.profile.condition_is("ReleaseConfigured", "False", "OverlayExported", seconds=PATIENCE)
        maps, name = it.release.kind("configmaps"), f"{it.profile.name}-values"
        assert it.release.api.find(maps, name)
        it.profile.delete()
        await it.profile.gone()
        assert it.release.api.find(maps, name) is None


def _phase_is(it: Case, phase: str) -> bool:
    return bool(it.profile.status.get("attempt", {}).get("phase") == phase)


def _has_it(profile: Profile) -> bool:
    """Whether a profile has the release to itself, whatever it makes of it."""
    condition = profile.condition("ReleaseConfigured")
    assert condition is not None, profile.status
    assert condition["reason"] != "ReleaseClaimedTwice", condition
    return True
