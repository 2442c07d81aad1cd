"""The component admission-policy at work.

Deletions that could take nodes along are refused, others are mended, and the operator's own account is kept off
NodePools without a mark. An API server, the operator and the policies; no garbage collector, which a foreground
deletion would need to go on.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest
import requests
from pykube.exceptions import HTTPError

from harness import DEPLOY, NAMESPACE, NODE_CLASS, NODE_POOLS, Api, Json, LocalOperator, Workspace, unique
from harness.installation import SERVICE_ACCOUNT
from integration.obstacles import allow, pool_of_others, untouched
from sandbox import Cluster, eventually
from sandbox.access import client

GUARDS: Final = sorted((DEPLOY / "components" / "admission-policy").glob("*-guard.yaml"))
LABEL: Final = "connect-autoscaler.io/profile"
UID: Final = "connect-autoscaler.io/profile-uid"
REQUIREMENT: Final[Json] = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
SPEC: Final[Json] = {
    "disruption": {"consolidateAfter": "0s"},
    "template": {"spec": {"nodeClassRef": NODE_CLASS, "requirements": [REQUIREMENT]}},
}
EDIT: Final[Json] = {"spec": {"weight": 7}}


@pytest.fixture(scope="module")
async def account(oldest: LocalOperator) -> AsyncIterator[Api]:
    """What the operator's ServiceAccount can do."""
    http = client(oldest.cluster.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT))
    with contextlib.closing(http.session):
        yield Api(http)


@pytest.fixture(scope="module")
async def workspace(oldest: LocalOperator, account: Api) -> AsyncIterator[Workspace]:
    """A workspace under the policies, which act some moments after they were created."""
    cluster = oldest.cluster
    async with Workspace(cluster) as workspace:
        # RBAC is not what is tried here.
        await allow(workspace, "update", "delete", "deletecollection")
        marked = pool_of_others(workspace, unique(), spec=SPEC, labels={LABEL: "nobody"})["metadata"]["name"]
        unmarked = pool_of_others(workspace, unique(), spec=SPEC)["metadata"]["name"]
        for guard in GUARDS:
            cluster.apply(guard)
        await eventually(lambda: _delete(cluster, marked, dryRun=["All"]).status_code == requests.codes.forbidden)
        await eventually(lambda: _refused(lambda: account.merge(NODE_POOLS, unmarked, EDIT)))
        yield workspace
        for guard in GUARDS:
            assert cluster.kubectl("delete", "-f", guard).returncode == 0
        await eventually(lambda: _delete(cluster, marked, dryRun=["All"]).ok)
        await eventually(lambda: not _refused(lambda: account.merge(NODE_POOLS, unmarked, EDIT)))


def _refused(write: Callable[[], object]) -> str:
    """Return with which words a write is refused; empty: it is not."""
    try:
        write()
    except HTTPError as error:
        if error.code != requests.codes.forbidden:
            raise
        return str(error)
    return ""


def _delete(cluster: Cluster, pool: str = "", *, how: str = "Foreground", **options: list[str]) -> requests.Response:
    url = f"{NODE_POOLS.plural}/{pool}".rstrip("/")
    body = {"propagationPolicy": how, **options}
    answer: requests.Response = cluster.api.delete(version=NODE_POOLS.version, url=url, json=body)
    return answer


async def test_foreground_is_refused_and_background_is_mended(oldest: LocalOperator, workspace: Workspace) -> None:
    profile = workspace.profile()
    await profile.ready()
    cluster, old = oldest.cluster, profile.pool()
    refused = _delete(cluster, profile.server)
    assert refused.status_code == requests.codes.forbidden
    message = refused.json()["message"]
    assert f"NodePool {profile.server} belongs to ConnectAutoscalingProfile {profile.name}" in message
    assert "Delete it with --cascade=background" in message
    told = cluster.kubectl("delete", "nodepool", profile.server, "--cascade=foreground")
    assert told.returncode
    assert "under Posit Connect" in told.stderr
    assert _delete(cluster).status_code == requests.codes.forbidden
    assert "deletionTimestamp" not in profile.pool()["metadata"]

    passed = cluster.kubectl("delete", "nodepool", profile.server, "--timeout=30s")
    assert passed.returncode == 0, passed.stderr
    back = await eventually(lambda: profile.api.find(NODE_POOLS, profile.server))
    assert back is not None
    assert back["metadata"]["uid"] != old["metadata"]["uid"]
    assert back["spec"] == old["spec"]
    await profile.ready()


async def test_the_operators_account_touches_no_pool_without_a_mark(workspace: Workspace, account: Api) -> None:
    pool = pool_of_others(workspace, unique(), spec=SPEC, labels={"team": "data"})
    name = pool["metadata"]["name"]
    ours = {"metadata": {"labels": {LABEL: "production"}}}  # nor does it help to take the pool over by the same write
    body = {"apiVersion": NODE_POOLS.version, "kind": "NodePool", "metadata": {"name": name}, "spec": SPEC}
    writes: dict[str, Callable[[], object]] = {
        "patch": lambda: account.merge(NODE_POOLS, name, EDIT),
        "apply": lambda: account.apply(NODE_POOLS, name, body, force=True),
        "mark": lambda: account.merge(NODE_POOLS, name, ours),
        "update": lambda: account.replace(
            NODE_POOLS, {**account.get(NODE_POOLS, name), "spec": {**SPEC, **EDIT["spec"]}}
        ),
        "delete": lambda: account.delete(NODE_POOLS, name),
        "create": lambda: account.create(NODE_POOLS, {**body, "metadata": {"name": unique()}}),
    }
    for verb, write in writes.items():
        words = _refused(write)
        assert "carries no mark of a ConnectAutoscalingProfile" in words, verb
        assert "kubectl label nodepool" in words, verb
    assert untouched(workspace.api, pool)
    workspace.api.merge(NODE_POOLS, name, EDIT)  # it binds nobody else


@pytest.mark.parametrize("mark", [{"labels": {LABEL: "nobody"}}, {"annotations": {UID: "of-nobody"}}], ids=str)
async def test_one_mark_is_enough(workspace: Workspace, account: Api, mark: Json) -> None:
    """What somebody has stripped of the other one has to be put right, and be let go."""
    name = pool_of_others(workspace, unique(), spec=SPEC, **mark)["metadata"]["name"]
    account.merge(NODE_POOLS, name, EDIT)
    bare = {"metadata": {"labels": {LABEL: None}, "annotations": {UID: None}}}
    account.merge(NODE_POOLS, name, bare)
    assert _refused(lambda: account.delete(NODE_POOLS, name))


async def test_a_pool_is_taken_over_when_its_owner_hands_it_over(workspace: Workspace) -> None:
    name = unique()
    pool = pool_of_others(workspace, f"{name}-content", spec=SPEC)
    profile = workspace.profile(name, takeOver="Always")
    body = await profile.condition_is("NodePoolsReady", "False", "AdmissionDenied")
    (told,) = (each["message"] for each in body["status"]["conditions"] if each["type"] == "NodePoolsReady")
    assert f"kubectl label nodepool {profile.content} {LABEL}=" in told
    assert untouched(workspace.api, pool)
    done = workspace.cluster.kubectl("label", "nodepool", profile.content, f"{LABEL}={profile.name}")
    assert done.returncode == 0, done.stderr
    profile.annotate(requestedAt=unique())  # it would be tried again within a minute
    await profile.ready()
    assert profile.pool(profile.content)["metadata"]["annotations"][UID] == profile.read()["metadata"]["uid"]
