"""Whatever somebody bends on a NodePool is found, told with its author, and put back."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pykube.exceptions import HTTPError

from harness import (
    COLLEAGUE,
    NODE_CLASS,
    NODE_CLASSES,
    NODE_POOLS,
    Api,
    FakeKarpenterStatus,
    Json,
    Profile,
    Workspace,
    unique,
)
from integration.bends import Bend, changed, fields, joined, removed, rounds, touched
from profile_specs import Spec
from sandbox import eventually

MOST_TOLD = 20
"""Items in status."""
MOST = 15
"""Items of a round: fewer than status tells, and than the 30 corrections of a pool within a minute that are a fight."""
UNKNOWN = "unknown"
UNPROCESSABLE = 422
PROMPT = 30.0
"""Seconds; milliseconds are usual, a status may be held back for two seconds."""

POOL: Spec = {
    "requirements": [
        {"key": "karpenter.kwok.sh/instance-family", "operator": "In", "values": ["c", "m"], "minValues": 2},
        {"key": "karpenter.kwok.sh/instance-cpu", "operator": "Gt", "values": ["3"]},
        {"key": "topology.kubernetes.io/zone", "operator": "NotIn", "values": ["test-zone-a"]},
        {"key": "example.com/rack", "operator": "Exists"},
    ],
    "labels": {"example.com/team": "data"},
    "annotations": {"example.com/cost": "high"},
    "taints": [{"key": "example.com/gpu", "value": "true", "effect": "NoSchedule"}],
    "startupTaints": [{"key": "example.com/agent", "value": "starting", "effect": "NoExecute"}],
    "limits": {"cpu": "64", "nodes": 4},
    "weight": 10,
    "disruption": {
        "consolidateAfter": "2h",
        "budgets": [
            {"nodes": "0", "reasons": ["Underutilized", "Drifted"]},
            {"nodes": "1", "schedule": "0 3 * * 6", "duration": "4h"},
        ],
    },
}


def everything(workspace: Workspace) -> Spec:
    """Return a patch of a spec that sets every optional field of both pools."""
    other = workspace.create(NODE_CLASSES, {"kind": NODE_CLASS["kind"], "metadata": {"name": unique("class")}})
    pool = {**POOL, "nodeClassRef": {**NODE_CLASS, "name": other["metadata"]["name"]}}
    return {
        "serverPool": {**pool, "expireAfter": "2000h"},
        "contentPool": {**pool, "expireAfter": "500h", "terminationGracePeriod": "4h", "deletionProtection": True},
    }


def managed(pool: Json) -> Json:
    """Return what the operator answers for."""
    meta = pool["metadata"]
    ours = [each for each in meta.get("finalizers", ()) if each.startswith("connect-autoscaler.io/")]
    return {"spec": pool["spec"], "labels": meta.get("labels"), "annotations": meta.get("annotations"), "ours": ours}


async def right(profile: Profile, name: str, before: Json, bend: Bend | None = None) -> None:
    def check() -> bool:
        now = managed(profile.pool(name))
        assert now == before, f"{bend} stays"
        return True

    await eventually(check, timeout=PROMPT, interval=0.01)


async def put_back(api: Api, profile: Profile, name: str, bends: Iterable[Bend]) -> None:
    """Bend a pool, one way after the other, and see each put back, and all told."""
    before = managed(profile.pool(name))
    bends = tuple(bends)
    for bend in bends:
        bent = api.json_patch(NODE_POOLS, name, bend.operations)
        assert managed(bent) != before, bend
        await right(profile, name, before, bend)

    def told() -> bool:
        missing = list(untold(bends, profile.drift(), name))
        assert not missing, "\n".join(missing)
        return True

    await eventually(told, timeout=PROMPT)


def untold(bends: Iterable[Bend], drift: list[Json], name: str) -> Iterator[str]:
    """Say what status does not tell about bends."""
    told = {item["path"]: item for item in drift if item["target"] == f"NodePool/{name}"}
    for bend in bends:
        for wanted in bend.items:
            item = told.get(wanted.path)
            found = item and (value(item, "expected"), value(item, "actual"), item["action"])
            if item is None or found != (wanted.expected, wanted.actual, "Corrected"):
                yield f"{bend}: wanted {wanted}, found {item}"
            elif item["manager"] != COLLEAGUE and not (wanted.actual is None and item["manager"] == UNKNOWN):
                yield f"{bend}: wrong manager {item}"


def value(item: Json, name: str) -> Any:
    return json.loads(item[name]) if name in item else None


@pytest.mark.parametrize("kind", [changed, removed, joined])
@pytest.mark.parametrize("role", ["server", "content"])
@pytest.mark.parametrize("spec", [lambda _: {}, everything], ids=["smallest", "everything"])
async def test_every_field_is_put_back_and_told(
    local_workspace: Workspace,
    fake_karpenter: FakeKarpenterStatus,
    spec: Callable[[Workspace], Spec],
    role: str,
    kind: Callable[[Json], Iterator[Bend]],
) -> None:
    wanted = spec(local_workspace)

    async def start() -> tuple[Profile, str]:
        profile = local_workspace.profile(**wanted)
        await profile.ready()
        name = profile.server if role == "server" else profile.content
        fake_karpenter.skip.add(name)  # its verdict is not what is tested, and costs twice what a correction does
        return profile, name

    profile, name = await start()
    bends = list(kind(profile.pool(name)))
    for bend in bends:
        if not bend.items:
            with pytest.raises(HTTPError) as refused:
                local_workspace.api.json_patch(NODE_POOLS, name, bend.operations)
            assert refused.value.code == UNPROCESSABLE, bend

    async def round_of(number: int, profile: Profile, name: str) -> None:
        await put_back(local_workspace.api, profile, name, rounds(kind(profile.pool(name)), most=MOST)[number])

    others = await asyncio.gather(*(start() for _ in rounds(bends, most=MOST)[1:]))
    await asyncio.gather(*(round_of(number, *each) for number, each in enumerate([(profile, name), *others])))


async def test_no_field_of_karpenter_is_forgotten(local_workspace: Workspace) -> None:
    answer = local_workspace.cluster.api.get(
        version="apiextensions.k8s.io/v1", url="customresourcedefinitions/nodepools.karpenter.sh"
    )
    (version,) = answer.json()["spec"]["versions"]
    known = set(fields(version["schema"]["openAPIV3Schema"]["properties"]["spec"], "/spec"))
    profile = local_workspace.profile(**everything(local_workspace))
    await profile.ready()
    pool = profile.pool(profile.content)
    bent = touched(each for kind in (changed, removed, joined) for each in kind(pool))
    assert known - bent == {f"/spec/template/spec/{name}/timeAdded" for name in ("taints", "startupTaints")}


async def test_a_deleted_pool_comes_back(local_workspace: Workspace) -> None:
    profile = local_workspace.profile()
    await profile.ready()
    before = {name: profile.pool(name) for name in (profile.server, profile.content)}
    for name in before:
        local_workspace.api.delete(NODE_POOLS, name)

    def back() -> bool:
        for name, pool in before.items():
            now = profile.pool(name)
            assert now["metadata"]["uid"] != pool["metadata"]["uid"]
            assert managed(now) == managed(pool)
        told = {item["target"]: item for item in profile.drift() if item["path"] == "/"}
        assert set(told) == {f"NodePool/{name}" for name in before}
        assert {(item["expected"], item.get("actual"), item["action"]) for item in told.values()} == {
            ('"present"', None, "Corrected")
        }
        return True

    await eventually(back)
    await profile.ready()


async def test_everything_at_once_is_put_back_at_once(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(**everything(local_workspace))
    await profile.ready()
    before = managed(profile.pool())
    extra = {f"example.com/extra-{number}": "yes" for number in range(25)}
    spec: Spec = {"taints": [], "startupTaints": None, "requirements": [], "expireAfter": "1h"}
    local_workspace.api.merge(
        NODE_POOLS,
        profile.server,
        {
            "metadata": {"labels": None, "finalizers": None},
            "spec": {
                "template": {"metadata": {"labels": extra, "annotations": extra}, "spec": spec},
                "disruption": {"consolidateAfter": "0s", "budgets": []},
                "limits": None,
                "weight": None,
            },
        },
    )
    await right(profile, profile.server, before)

    await eventually(lambda: len(profile.drift()) == MOST_TOLD)
    assert profile.status["heals"]["total"] == 1
    await profile.ready()


async def test_each_opponent_is_named(local_workspace: Workspace) -> None:
    profile = local_workspace.profile(contentPool={"weight": 5, "limits": {"cpu": "64"}})
    await profile.ready()
    before = managed(profile.pool(profile.content))
    heavier = {"kind": "NodePool", "spec": {"weight": 6}}
    local_workspace.api.apply(NODE_POOLS, profile.content, heavier, manager="kustomize-controller", force=True)
    await right(profile, profile.content, before)
    local_workspace.api.merge(NODE_POOLS, profile.content, {"spec": {"limits": {"cpu": "65"}}}, manager="Mozilla")
    await right(profile, profile.content, before)
    wanted = {"/spec/weight": "kustomize-controller", "/spec/limits/cpu": "Mozilla"}

    def named() -> bool:
        found = {item["path"]: item for item in profile.drift()}
        assert {path: item["manager"] for path, item in found.items()} == wanted
        for item in found.values():
            age = datetime.now(UTC) - datetime.fromisoformat(item["changedAt"])
            assert timedelta(seconds=-1) <= age < timedelta(minutes=1)
        return True

    await eventually(named)


async def test_what_belongs_to_others_stays(local_workspace: Workspace) -> None:
    profile = local_workspace.profile()
    await profile.ready()
    others: Json = {
        "labels": {"kustomize.toolkit.fluxcd.io/name": "infra"},
        "annotations": {"karpenter.sh/nodepool-hash": "1", "example.com/owner": "sre"},
        "finalizers": ["connect-autoscaler.io/protect", "example.com/audit"],
    }
    local_workspace.api.merge(NODE_POOLS, profile.server, {"metadata": others})
    local_workspace.api.merge(NODE_POOLS, profile.server, {"spec": {"weight": 6}})
    await eventually(lambda: "weight" not in profile.pool()["spec"])
    meta = profile.pool()["metadata"]
    assert others["labels"].items() <= meta["labels"].items()
    assert others["annotations"].items() <= meta["annotations"].items()
    assert meta["finalizers"] == others["finalizers"]
    await eventually(lambda: [item["path"] for item in profile.drift()] == ["/spec/weight"])
