"""A record of what happens on a real API server, by whoever may see how much of it."""

from harness import COLLEAGUE, NODE_POOLS, PROFILES, LocalOperator, Workspace
from recorder import Recorder, Watched, page
from sandbox import eventually


async def test_it_sees_what_was_bent_and_put_right_and_by_whom(
    local_operator: LocalOperator, local_workspace: Workspace
) -> None:
    profile = local_workspace.profile(contentPool={"weight": 5})
    await profile.ready()
    watched = Watched(profile.name, "default", "connect")
    async with Recorder(local_operator.cluster.kubeconfig, watched) as recorder:
        begun = recorder.now
        local_workspace.api.merge(NODE_POOLS, profile.content, {"spec": {"weight": 6}}, manager=COLLEAGUE)
        await eventually(lambda: [item for item in profile.drift() if item["path"] == "/spec/weight"])
        await eventually(lambda: [each for each in recorder.record.corrections() if each.items])
    record = recorder.record
    assert record.unseen == {}
    (correction,) = record.corrections()
    assert begun < correction.start < correction.until(0) < record.length
    assert correction.pool == profile.content
    (item,) = correction.items
    assert (item["path"], item["manager"], item["actual"], item["expected"]) == ("/spec/weight", COLLEAGUE, "6", "5")
    assert [each.status for each in record.conditions()["Ready"]] == ["True"]


async def test_what_may_not_be_read_is_named_and_seen_as_soon_as_it_may(local_operator: LocalOperator) -> None:
    cluster = local_operator.cluster
    async with Recorder(cluster.user_kubeconfig("onlooker"), Watched("production", "default", "connect")) as recorder:
        record = recorder.record
        assert record.unseen.keys() == {"nodes", "pods", "nodepools", "profiles"}
        assert "onlooker" in record.unseen["profiles"]
        allowed = {"apiGroups": [PROFILES.version.partition("/")[0]], "resources": ["*"], "verbs": ["list", "watch"]}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "onlooker"}}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "onlooker"}
        user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "onlooker"}
        cluster.apply({**role, "kind": "ClusterRole", "rules": [allowed]})
        cluster.apply({**role, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [user]})
        await eventually(lambda: "profiles" not in record.unseen)
    assert page(record, "Little").count("Not seen") == 3
