"""Verbs that change something: requests, suspension, approval."""

import pytest

from connect_autoscaler.cli.approve import MOVED
from connect_autoscaler.cli.cluster import PROFILES as CLI_PROFILES
from connect_autoscaler.cli.cluster import Access
from connect_autoscaler.cli.errors import ApiError
from harness import NODE_POOLS, PROFILES, LocalOperator, Profile, Workspace
from integration.claims import node_claim
from integration.cli_calls import Cli
from sandbox import eventually


@pytest.fixture
async def waiting(ready: Profile, local_workspace: Workspace) -> Profile:
    """A profile whose next change of the content pool would replace a node."""
    node_claim(local_workspace, ready.pool(ready.content))
    ready.patch({"contentPool": {"labels": {"example.com/team": "data"}}})
    await eventually(lambda: ready.status.get("planDigest"))
    return ready


def managers(profile: Profile, field: str) -> set[str]:
    """Who owns a field below spec, by managedFields."""
    entries = profile.read()["metadata"]["managedFields"]
    return {each["manager"] for each in entries if f"f:{field}" in each["fieldsV1"].get("f:spec", {})}


async def test_a_single_profile_needs_no_name(cli: Cli, ready: Profile, local_workspace: Workspace) -> None:
    others = {each["metadata"]["name"] for each in ready.api.list(PROFILES)} - {ready.name}
    assert others == set(), "this test needs the cluster for itself"
    assert (await cli("reconcile")).out == f"{ready.name}: asked to reconcile\n"
    other = local_workspace.profile()
    several = await cli("reconcile")
    assert several.code == 2
    assert (
        several.err == f"Error: There are several profiles; name one: {', '.join(sorted([ready.name, other.name]))}\n"
    )


async def test_reconcile_waits_for_the_answer_to_its_own_request(cli: Cli, ready: Profile) -> None:
    done = await cli("reconcile", ready.name, "--wait")
    assert done.code == 0, done.err
    asked = ready.read()["metadata"]["annotations"]["connect-autoscaler.io/requestedAt"]
    assert ready.status["lastHandledReconcileAt"] == asked
    assert f"{ready.name}: Ready: " in done.out
    assert "reconciles" in done.err, "it shows progress"


async def test_reconcile_says_what_is_not_ready(cli: Cli, local_workspace: Workspace) -> None:
    broken = local_workspace.profile(
        nodeClassRef={"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "missing"}
    )
    refused = await cli("reconcile", broken.name, "--wait")
    assert refused.code == 1
    assert f"{broken.name} is not Ready: KWOKNodeClass.karpenter.kwok.sh missing does not exist" in refused.err


async def test_suspend_and_resume_are_the_users_own(cli: Cli, ready: Profile) -> None:
    suspended = await cli("suspend", ready.name, "--wait")
    assert suspended.code == 0, suspended.err
    assert f"{ready.name} is suspended" in suspended.err, "it shows progress"
    assert ready.condition("Suspended") is not None
    assert managers(ready, "suspend") == {"connect-autoscaler-cli"}
    assert "suspended already" in (await cli("suspend", ready.name)).out
    useless = await cli("approve", ready.name, "--yes")
    assert (useless.code, "Nothing of" in useless.err) == (1, True)
    resumed = await cli("resume", ready.name, "--wait")
    assert resumed.code == 0, resumed.err
    assert ready.condition("Suspended") is None
    assert "not suspended" in (await cli("resume", ready.name)).out


async def test_suspend_tells_of_git(cli: Cli, ready: Profile) -> None:
    labels = {"kustomize.toolkit.fluxcd.io/name": "clusters"}
    ready.api.merge(PROFILES, ready.name, {"metadata": {"labels": labels}}, manager="kustomize-controller")
    assert "Flux writes this profile and may undo that" in (await cli("suspend", ready.name)).err


async def test_approve_shows_the_plan_and_releases_exactly_it(cli: Cli, waiting: Profile) -> None:
    digest = waiting.status["planDigest"]
    unasked = await cli("approve", waiting.name)
    assert unasked.code == 2
    assert f"ReplacesNodes   Apply NodePool/{waiting.content}  waits: NodesInUse" in unasked.out
    assert "no terminal to ask on; say --yes" in unasked.err
    other = await cli("approve", waiting.name, "--yes", "--digest", "sha256:0123456789abcdef")
    assert (other.code, f"has digest {digest}, not sha256:0123456789abcdef" in other.err) == (1, True)
    assert "annotations" not in waiting.read()["metadata"], "nothing was approved yet"
    done = await cli("approve", waiting.name, "--yes", "--wait", "--digest", digest)
    assert done.code == 0, done.err
    assert f"{waiting.name} carries it out" in done.err, "it shows progress"
    assert waiting.read()["metadata"]["annotations"] == {"connect-autoscaler.io/approve": digest}
    assert waiting.pool(waiting.content)["spec"]["template"]["metadata"]["labels"]["example.com/team"] == "data"
    empty = await cli("approve", waiting.name, "--yes")
    assert empty.code == 1
    assert empty.err == f"Error: Nothing of {waiting.name} waits for approval\n"


async def test_a_plan_that_changes_before_the_answer_is_not_approved(cli: Cli, waiting: Profile) -> None:
    guard = {"op": "test", "path": "/status/planDigest", "value": "sha256:0123456789abcdef"}
    annotate = {"op": "add", "path": "/metadata/annotations", "value": {"connect-autoscaler.io/approve": "x"}}
    with Access(str(cli.cluster.kubeconfig), None).open() as cluster, pytest.raises(ApiError) as refused:
        cluster.patch(CLI_PROFILES, waiting.name, [guard, annotate])
    assert refused.value.code in MOVED
    assert "annotations" not in waiting.read()["metadata"]


async def test_approve_refuses_what_approval_would_not_change(cli: Cli, local_workspace: Workspace) -> None:
    planned = local_workspace.profile(mode="Plan")
    await eventually(lambda: planned.status.get("planDigest"))
    refused = await cli("approve", planned.name, "--yes")
    assert refused.code == 1
    assert "spec.mode is Plan; set Enforce first" in refused.err


async def test_without_an_operator_waiting_ends_with_advice(
    cli: Cli, local_operator: LocalOperator, ready: Profile
) -> None:
    await local_operator.stop()
    try:
        for verb in ("reconcile", "suspend", "resume"):
            waited = await cli(verb, ready.name, "--wait", "--timeout", "1")
            assert waited.code == 1
            assert "not within 1 s" in waited.err
            assert "does the operator run? check says" in waited.err
        stale = await cli("approve", ready.name, "--yes")
        assert (stale.code, "has not looked at the present spec" in stale.err) == (1, True)
    finally:
        await local_operator.start()


async def test_it_puts_back_what_changed_while_suspended(cli: Cli, ready: Profile) -> None:
    await cli("suspend", ready.name, "--wait")
    ready.api.merge(NODE_POOLS, ready.content, {"spec": {"weight": 9}})
    await cli("resume", ready.name, "--wait")
    await eventually(lambda: ready.pool(ready.content)["spec"]["weight"] == 5)
