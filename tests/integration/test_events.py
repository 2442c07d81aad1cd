"""What `kubectl describe` tells about a profile: one event for each transition, and silence otherwise."""

from collections import Counter

import pytest

from harness import EVENTS, NODE_CLASS, NODE_POOLS, Json, LocalOperator, Profile, Workspace, unique
from sandbox import eventually

NAMESPACE = "default"
"""Where events of cluster-scoped objects have to be."""
CREATION = Counter({"NodePoolCreated": 2, "InSync": 1})


def events(profile: Profile) -> list[Json]:
    """Return the events about a profile, oldest first."""
    uid = profile.read()["metadata"]["uid"]
    found = [each for each in profile.api.list(EVENTS) if each["regarding"].get("uid") == uid]
    return sorted(found, key=lambda each: str(each["eventTime"]))


def reasons(profile: Profile) -> Counter[str]:
    return Counter(each["reason"] for each in events(profile))


async def told(profile: Profile, expected: Counter[str]) -> list[Json]:
    """Wait for events, see that they are all, and return them.

    Events are posted in order: the ones of a suspension and its end, which follow, come behind all that were due.
    """
    profile.patch({"suspend": True})
    await profile.condition_is("Suspended")
    profile.patch({"suspend": False})
    await profile.condition_is_absent("Suspended")
    await eventually(lambda: reasons(profile)["Resumed"] == 1)
    assert reasons(profile) == expected + Counter({"SuspendRequested": 1, "Resumed": 1})
    return events(profile)


@pytest.fixture
async def profile(local_workspace: Workspace) -> Profile:
    made = local_workspace.profile(contentPool={"weight": 5})
    await made.ready()
    await eventually(lambda: reasons(made) == CREATION)
    return made


async def test_of_a_creation_a_suspension_and_its_end(local_workspace: Workspace, profile: Profile) -> None:
    found = await told(profile, CREATION)
    assert [each["reason"] for each in found[-2:]] == ["SuspendRequested", "Resumed"]
    created = {each["note"] for each in found if each["reason"] == "NodePoolCreated"}
    assert created == {f"NodePool/{name} created" for name in (profile.server, profile.content)}
    for each in found:
        assert each["metadata"]["namespace"] == NAMESPACE
        assert "namespace" not in each["regarding"]
        assert (each["type"], each["reportingController"]) == ("Normal", "connect-autoscaler")
        assert each["note"]
    answer = local_workspace.cluster.kubectl("describe", "cap", profile.name)
    assert answer.returncode == 0, answer.stderr
    _, _, table = answer.stdout.rpartition("\nEvents:")
    rows = [line.split() for line in table.splitlines() if "connect-autoscaler" in line]
    assert Counter(row[1] for row in rows) == reasons(profile)
    assert {row[0] for row in rows} == {"Normal"}
    assert all(note in table for note in created)
    assert "unknown" not in table


async def test_of_a_drift(profile: Profile) -> None:
    profile.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 6}})
    await eventually(lambda: profile.pool(profile.content)["spec"]["weight"] == 5)
    found = await told(profile, CREATION + Counter({"DriftCorrected": 1}))
    (corrected,) = [each for each in found if each["reason"] == "DriftCorrected"]
    assert corrected["type"] == "Normal"
    assert f"NodePool/{profile.content}" in corrected["note"]
    assert "/spec/weight" in corrected["note"]


async def test_of_a_deleted_pool(profile: Profile) -> None:
    profile.api.delete(NODE_POOLS, profile.content)
    await eventually(lambda: reasons(profile)["DriftCorrected"] == 1)
    await profile.ready()
    found = await told(profile, CREATION + Counter({"DriftCorrected": 1}))
    assert [each["note"] for each in found if each["reason"] == "DriftCorrected"] == [
        f"NodePool/{profile.content} was deleted and is back"
    ]


@pytest.mark.parametrize("taken", [1, 2])
async def test_of_a_taken_name(local_workspace: Workspace, taken: int) -> None:
    name = unique()
    template = {"spec": {"nodeClassRef": NODE_CLASS, "requirements": []}}
    pools = [f"{name}-server", f"{name}-content"][:taken]
    for pool in pools:
        body = {"kind": "NodePool", "metadata": {"name": pool}, "spec": {"template": template}}
        local_workspace.create(NODE_POOLS, body)
    profile = local_workspace.profile(name)
    await profile.condition_is("Stalled", "True", "NameTaken")
    await eventually(lambda: events(profile) != [])
    for pool in pools:
        local_workspace.api.delete(NODE_POOLS, pool)
    await profile.ready()
    warning = (await told(profile, CREATION + Counter({"NameTaken": 1})))[0]
    assert (warning["type"], warning["reason"]) == ("Warning", "NameTaken")
    assert [pool for pool in pools if pool not in warning["note"]] == []


async def test_none_of_a_look_that_finds_nothing(profile: Profile) -> None:
    profile.annotate(requestedAt="now")
    await eventually(lambda: profile.status.get("lastHandledReconcileAt") == "now")
    await told(profile, CREATION)


async def test_none_of_a_restart_of_the_operator(local_operator: LocalOperator, profile: Profile) -> None:
    await local_operator.restart()
    profile.annotate(requestedAt="restarted")
    await eventually(lambda: profile.status.get("lastHandledReconcileAt") == "restarted")
    await told(profile, CREATION)
