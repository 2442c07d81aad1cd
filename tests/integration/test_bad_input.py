"""Profiles that cannot be served: each says why and what to do, harms nobody, and recovers as soon as it can.

What the API server refuses is tried again once a minute: the tests that wait for it come last, and wait the rest of it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import pytest

from harness import (
    NODE_CLASS,
    NODE_CLASSES,
    NODE_POOLS,
    FakeKarpenterStatus,
    Json,
    LocalOperator,
    Profile,
    Workspace,
    unique,
)
from integration.obstacles import (
    CRDS,
    Policy,
    Rights,
    default_node_class,
    install_provider,
    karpenter_definitions,
    schema_at,
    untouched,
)
from integration.refused import Bystander, refused
from profile_specs import Spec
from sandbox import Parts, cluster, eventually

RETRY: Final = 90.0


@pytest.fixture(scope="module")
async def bystander(local_operator: LocalOperator) -> AsyncIterator[Bystander]:
    async with Workspace(local_operator.cluster) as workspace:
        profile = workspace.profile()
        await profile.ready()
        yield Bystander(profile)


@dataclass
class Denied:
    """Profiles whose NodePools a policy refuses.

    Attributes:
        whole: Both pools are refused.
        half: Only the content pool is.
        change: Both pools stand; a change is refused.
    """

    policy: Policy
    whole: Profile
    half: Profile
    change: Profile


@pytest.fixture(scope="module")
async def denied(local_operator: LocalOperator) -> AsyncIterator[Denied]:
    async with Workspace(local_operator.cluster) as workspace:
        change = workspace.profile()
        await change.ready()
        policy = await Policy.create(workspace)
        whole = workspace.profile(unique(policy.prefix))
        half = workspace.profile(contentPool={"name": unique(policy.prefix)})
        change.patch(
            {
                "contentPool": {"weight": policy.weight - 1, "limits": {"cpu": "64"}},
                "serverPool": {"weight": policy.weight},
            }
        )
        yield Denied(policy, whole, half, change)


@pytest.fixture(scope="module")
async def powerless() -> AsyncIterator[tuple[Rights, Profile]]:
    """A profile on a cluster of its own, where the operator may not write NodePools."""
    async with cluster(parts=Parts.API) as it, FakeKarpenterStatus(it), LocalOperator(it):
        workspace = Workspace(it)  # never closed: what it made goes with the cluster
        rights = Rights(workspace)
        await rights.revoke()
        yield rights, workspace.profile(unique("denied"))


async def test_the_operator_has_no_rights(powerless: tuple[Rights, Profile]) -> None:
    rights, profile = powerless
    words = ("cannot patch", "connectautoscalingprofiles", LocalOperator.user)  # first of all its finalizer
    await refused(profile, "Forbidden", *words)
    rights.grant()


async def test_a_policy_says_no(denied: Denied, bystander: Bystander) -> None:
    words = (denied.policy.message, denied.policy.name)
    await refused(denied.whole, "AdmissionDenied", *words)
    await refused(denied.half, "AdmissionDenied", *words, denied.half.content, standing=[denied.half.server])
    standing = [denied.change.server, denied.change.content]
    await refused(denied.change, "AdmissionDenied", *words, denied.change.server, standing=standing)
    await bystander.is_served()
    denied.policy.lift()


async def test_karpenter_comes_late_and_old() -> None:
    crds = karpenter_definitions()
    pools = crds["nodepools.karpenter.sh"]
    labels = schema_at(pools, "spec.template.metadata.labels")
    policies = schema_at(pools, "spec.disruption.consolidationPolicy")["enum"]
    async with cluster(parts=Parts.API, crds=None) as it, LocalOperator(it):
        workspace = Workspace(it)  # never closed: what it made goes with the cluster
        profile = workspace.profile()
        balanced = workspace.profile(contentPool={"disruption": {"consolidationPolicy": "Balanced"}})
        await refused(profile, "KarpenterNotInstalled", "install Karpenter", stalled=False)

        policies.remove("Balanced")  # as before 1.14
        del labels["x-kubernetes-map-type"]  # as before 1.13
        it.apply(*crds.values())
        default_node_class(it)
        await refused(profile, "UnsupportedKarpenter", "1.13", "upgrade Karpenter")

        labels["x-kubernetes-map-type"] = "atomic"
        it.apply(pools)
        async with FakeKarpenterStatus(it):
            await profile.ready()
            await refused(balanced, "Invalid", "Balanced", "WhenEmpty, WhenEmptyOrUnderutilized", "upgrade Karpenter")
            policies.append("Balanced")
            it.apply(pools)
            balanced.annotate(requestedAt="now")  # it would be seen with one of the next full checks
            await balanced.ready()


async def test_node_classes_that_do_not_exist_yet(local_workspace: Workspace, bystander: Bystander) -> None:
    missing, group = {**NODE_CLASS, "name": unique("class")}, f"{unique('x')}.example.com"
    of_nobody = {**NODE_CLASS, "group": group}
    moving = local_workspace.profile()
    await moving.ready()
    moving.patch({"nodeClassRef": missing})
    waiting = {
        "create it": [
            local_workspace.profile(nodeClassRef=missing),
            local_workspace.profile(contentPool={"nodeClassRef": missing}),
        ],
        "install the provider": [
            local_workspace.profile(nodeClassRef=of_nobody),
            local_workspace.profile(nodeClassRef={**NODE_CLASS, "kind": "NoSuchClass"}),
        ],
    }
    for words, profiles in waiting.items():
        for profile in profiles:
            await refused(profile, "NodeClassNotFound", words, stalled=False)
    await refused(moving, "NodeClassNotFound", "create it", stalled=False, standing=[moving.server, moving.content])
    assert moving.pool()["spec"]["template"]["spec"]["nodeClassRef"] == NODE_CLASS
    await bystander.is_served()
    local_workspace.create(NODE_CLASSES, {"kind": NODE_CLASS["kind"], "metadata": {"name": missing["name"]}})
    install_provider(local_workspace, **of_nobody)
    for profile in (moving, *waiting["create it"], waiting["install the provider"][0]):
        await profile.ready()
    assert moving.pool()["spec"]["template"]["spec"]["nodeClassRef"] == missing


CONTRADICTION = [
    {"key": "example.com/rack", "operator": "In", "values": ["a"]},
    {"key": "example.com/rack", "operator": "NotIn", "values": ["a"]},
]
UNHEALTHY = {"budgets": [{"nodes": "0", "reasons": ["Unhealthy"]}]}
WINDOW = {"schedule": "0 3 * * 6", "duration": "4h", "timeZone": "Mars/Olympus"}


@pytest.mark.parametrize(
    ("patch", "reason", "words", "cure"),
    [
        (
            {"contentPool": {"requirements": CONTRADICTION}},
            "Unsatisfiable",
            ["example.com/rack", "drop one"],
            {"requirements": None},
        ),
        (
            {"contentPool": {"disruption": UNHEALTHY}},
            "Invalid",
            ["Unhealthy", "upgrade Karpenter"],
            {"disruption": None},
        ),
    ],
    ids=["contradiction", "unknown feature"],
)
async def test_a_pool_that_makes_no_sense_here(
    local_workspace: Workspace, bystander: Bystander, patch: Spec, reason: str, words: list[str], cure: Spec
) -> None:
    profile = local_workspace.profile(**patch)
    await refused(profile, reason, profile.content, *words)
    await bystander.is_served()
    profile.patch({"contentPool": cure})
    await profile.ready()


async def test_a_window_on_mars(local_workspace: Workspace, bystander: Bystander) -> None:
    profile = local_workspace.profile(disruptions={"windows": [WINDOW]})
    await refused(profile, "Invalid", "spec.disruptions.windows", "Mars/Olympus", "Europe/Berlin")
    await bystander.is_served()
    profile.patch({"disruptions": {"windows": [{**WINDOW, "timeZone": "Europe/Berlin"}]}})
    await profile.ready()


async def test_a_bad_change_leaves_what_stands_and_keeps_it(local_workspace: Workspace, bystander: Bystander) -> None:
    profile = local_workspace.profile(contentPool={"weight": 5})
    await profile.ready()
    pool = profile.pool(profile.content)
    profile.patch({"contentPool": {"requirements": CONTRADICTION, "weight": 6}})
    await refused(profile, "Unsatisfiable", standing=[profile.server, profile.content])
    await bystander.is_served()
    assert untouched(local_workspace.api, pool)
    local_workspace.api.merge(NODE_POOLS, profile.server, {"spec": {"weight": 9}})
    await eventually(lambda: "weight" not in profile.pool()["spec"])
    profile.patch({"contentPool": {"requirements": None}})
    await profile.ready()
    assert profile.pool(profile.content)["spec"]["weight"] == 6


async def test_the_policy_is_gone(denied: Denied) -> None:
    denied.policy.lift()
    for profile in (denied.whole, denied.half, denied.change):
        await profile.ready(seconds=RETRY)


async def test_the_operator_has_its_rights_again(powerless: tuple[Rights, Profile]) -> None:
    rights, profile = powerless
    rights.grant()
    await profile.ready(seconds=RETRY)


@pytest.mark.parametrize(
    "bend",
    [
        {"template": {"spec": {"requirements": "none", "taints": {"key": "workload"}, "nodeClassRef": "default"}}},
        {"template": {"metadata": 5}, "disruption": {"budgets": "10%", "consolidateAfter": {"hours": 1}}},
        None,
    ],
    ids=["texts for lists", "numbers for maps", "no spec"],
)
async def test_another_definition_lets_any_form_through(powerless: tuple[Rights, Profile], bend: Json | None) -> None:
    """What Karpenter's own refuses is a difference like any other, and no fault of the operator's."""
    _, profile = powerless
    api, name = profile.api, profile.server
    definition = api.get(CRDS, f"{NODE_POOLS.plural}.karpenter.sh")
    (version,) = (each for each in definition["spec"]["versions"] if each["name"] == "v1")
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] = {"x-kubernetes-preserve-unknown-fields": True}
    schema.pop("required", None)
    api.replace(CRDS, definition)
    spec, healed = profile.pool()["spec"], profile.status.get("heals", {}).get("total", 0)
    await eventually(lambda: api.merge(NODE_POOLS, name, {"spec": bend}))  # not before the API server goes by it
    await eventually(lambda: profile.pool().get("spec") == spec)
    await eventually(lambda: profile.status.get("heals", {}).get("total", 0) > healed)
    await profile.ready()
