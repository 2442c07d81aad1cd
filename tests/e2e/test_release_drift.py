"""What others do to a release: it is told at once, with layer, path and culprit, and put right as the profile says."""

import time
from collections.abc import Callable
from typing import Any

from e2e.helm_door import HelmDoor
from e2e.release_stage import AT_ONCE, PATIENCE, Case, case
from harness import PROFILES, Json, Kind, Operator, Timeline
from harness.metrics import Scrape
from harness.releases import SERVER
from sandbox import eventually

POLICIES = Kind("admissionregistration.k8s.io/v1", "mutatingadmissionpolicies")
BINDINGS = Kind("admissionregistration.k8s.io/v1", "mutatingadmissionpolicybindings")
CORRECT: dict[str, Any] = {"driftPolicy": {"release": "Correct"}}
TOLD_WITHIN = 2.0
"""Seconds from the change; some 0.1 on an idle machine."""
_POD = "/spec/template/spec"


async def test_helm_in_other_hands_is_told(taken: Case) -> None:
    before, config = taken.number, taken.release.config
    plain = {name: value for name, value in config.items() if name != "nodeSelector"}
    item = await _told_async(taken, "upgrade", "--reset-values", values=plain, path="/nodeSelector")
    assert item["manager"] == f"helm revision {before + 1}"
    await taken.profile.condition_is("Ready", "False", "GuaranteeBroken")
    await taken.release.helm("upgrade", "--reset-values", "--force-conflicts", values=config)
    await taken.in_order(seconds=60)
    item = await _told_async(taken, "rollback", "1", "--force-conflicts", path="/nodeSelector")
    assert item["manager"] == f"helm revision {before + 3} (rollback to 1)"
    assert item["action"] == "Reported"
    await taken.release.helm("upgrade", "--reset-values", "--force-conflicts", values=config)
    await taken.in_order(seconds=60)


async def test_nothing_is_lost_when_two_write_at_once(door: HelmDoor, taken: Case) -> None:
    before = taken.number
    async with door.hold("before-upgrade", taken.release) as held:
        taken.protect_content("6h")
        await held.reached()
        users = {**taken.release.config, "replicas": 2, "pod": {"annotations": {"users": "own"}}}
        await taken.release.helm("upgrade", "--reset-values", "--force-conflicts", values=users)
    await eventually(lambda: taken.carries("6h") and taken.release.config.get("replicas") == 2, timeout=PATIENCE)
    await taken.settled()
    config = taken.release.config
    assert config["replicas"] == 2
    assert config["pod"]["annotations"] == {"users": "own", "karpenter.sh/do-not-disrupt": "true"}
    assert taken.carries("6h")
    print("revisions of a race:", taken.statuses(since=before))


async def test_edits_of_live_objects_are_told(taken: Case) -> None:
    deployments, maps = taken.release.kind("deployments"), taken.release.kind("configmaps")
    api, config = taken.release.api, f"{SERVER}-config"
    before, written = taken.release.deployment()["spec"]["template"], api.get(maps, config)["data"]
    ours = next(i for i, each in enumerate(before["spec"]["tolerations"]) if each["key"] == "workload")
    annotation = "/spec/template/metadata/annotations/karpenter.sh~1do-not-disrupt"

    def edit(*operations: Json) -> Callable[[], Any]:
        return lambda: api.json_patch(deployments, SERVER, operations)

    edits = [
        (edit({"op": "remove", "path": f"{_POD}/tolerations/{ours}"}), f"{_POD}/tolerations", "kubectl-edit"),
        (
            edit({"op": "replace", "path": f"{_POD}/nodeSelector/workload", "value": "elsewhere"}),
            f"{_POD}/nodeSelector/workload",
            "kubectl-edit",
        ),
        (edit({"op": "remove", "path": annotation}), annotation, "unknown"),
    ]
    for act, path, manager in edits:
        item = await _told(taken, act, taken.deployment, path)
        assert (item["manager"], item["action"], item["reason"]) == (manager, "Reported", "Policy")
        await taken.profile.condition_is("Ready", "False")
        edit({"op": "replace", "path": "/spec/template", "value": before})()
        await taken.in_order()

    broken = {name: text.replace("karpenter.sh/do-not-disrupt=", "x=") for name, text in written.items()}
    item = await _told(
        taken, lambda: api.merge(maps, config, {"data": broken}), taken.config_map, "/data/rstudio-connect.gcfg"
    )
    assert item["manager"] == "kubectl-edit"
    await _told(taken, lambda: api.delete(maps, config), taken.config_map, "/")
    api.create(maps, {"kind": "ConfigMap", "metadata": {"name": config}, "data": written})
    await taken.in_order()


async def test_ci_is_corrected_until_it_is_a_fight(operator: Operator) -> None:
    async with case(operator, disruptions={"when": "Immediately", "maxCorrectionsPerDay": 1}, **CORRECT) as it:
        await it.settled()
        values = {name: value for name, value in it.release.values.items() if name != "nodeSelector"}
        ci = {**values, "replicas": 1}

        await it.release.helm("upgrade", "--reset-values", values=ci)
        await _corrected(it, 4)
        assert it.release.config["replicas"] == 1

        await it.release.helm("upgrade", "--reset-values", values=ci)
        await it.drifts(it.target, "/nodeSelector", "DailyLimit")
        assert (it.planned() or {})["reason"] == "DailyLimit"
        assert it.number == 5
        it.profile.patch({"disruptions": {"maxCorrectionsPerDay": 9}})
        await _corrected(it, 6)
        await _counted(operator, it.profile.name, corrections=2)

        await it.release.helm("upgrade", "--reset-values", values=ci)
        body = await it.profile.condition_is("Fighting", "True", "FightDetected")
        fighting = next(c for c in body["status"]["conditions"] if c["type"] == "Fighting")
        assert "helm revision 7" in fighting["message"]
        await it.drifts(it.target, "/nodeSelector", "FightDetected")
        await it.profile.condition_is("Ready", "False", "GuaranteeBroken")
        assert it.number == 7
        # The pipeline has stopped, and the user says so.
        it.profile.annotate(approve=await eventually(lambda: it.profile.status["planDigest"]))
        await _corrected(it, 8)
        await it.profile.condition_is_absent("Fighting")


async def test_a_field_of_another_manager_is_a_conflict_before_anything_is_written(operator: Operator) -> None:
    async with case(operator, mode="Plan") as it:
        mine = [{"key": "theirs", "operator": "Exists"}]
        theirs = {"kind": "Deployment", "metadata": {"name": SERVER}, "spec": _template({"tolerations": mine})}
        it.release.api.apply(it.release.kind("deployments"), SERVER, theirs, manager="terraform", force=True)
        it.profile.patch({"mode": "Enforce", **AT_ONCE})
        body = await it.profile.condition_is("ReleaseConfigured", "False", "Conflict", seconds=PATIENCE)
        message = next(c["message"] for c in body["status"]["conditions"] if c["type"] == "ReleaseConfigured")
        assert "terraform" in message
        assert ".spec.template.spec.tolerations" in message
        assert it.statuses() == ["deployed"]
        assert it.state() is None
        it.profile.patch({"release": {"onConflict": "Force"}})
        await it.settled()
        assert it.statuses() == ["superseded", "deployed"]
        keys = {each["key"] for each in it.release.deployment()["spec"]["template"]["spec"]["tolerations"]}
        assert "workload" in keys


async def test_an_admission_policy_that_mutates_is_no_opponent(operator: Operator) -> None:
    async with case(operator, **AT_ONCE, **CORRECT) as it:
        await it.settled()
        name = it.release.namespace
        before = it.number
        api = it.release.api
        api.create(POLICIES, _mutates(name))
        api.create(BINDINGS, {"metadata": {"name": name}, "spec": {"policyName": name}})
        try:
            # The policy acts with the next write of the Deployment, whoever makes it.
            await eventually(lambda: _mutated(it))
            await it.release.helm("upgrade", "--reset-values", "--force-conflicts", values=it.release.config)
            await it.profile.condition_is("ReleaseConfigured", "False", "MutatedByAdmission", seconds=PATIENCE)
            assert it.profile.condition("Fighting") is None
            await it.drifts(it.deployment, f"{_POD}/nodeSelector", "MutatedByAdmission")
            assert it.number == before + 1
            it.protect_content("4h")  # a change of the profile is not written into it either
            await it.profile.condition_is("ReleaseConfigured", "False", "MutatedByAdmission", seconds=PATIENCE)
            assert it.number == before + 1
        finally:
            api.delete(BINDINGS, name)
            api.delete(POLICIES, name)


async def _told(it: Case, act: Callable[[], Any], target: str, path: str) -> Json:
    """Do something, and see it told in time."""
    async with Timeline(it.release.cluster, PROFILES) as profiles:
        start = time.perf_counter()
        act()
        event = await profiles.until(lambda e: e.name == it.profile.name and bool(_item(e.object, target, path)))
    _in_time(event.at - start, target, path)
    return _item(event.object, target, path)


async def _told_async(it: Case, command: str, *arguments: str, path: str, values: Json | None = None) -> Json:
    """Run helm, and see it told in time after its revision is deployed."""
    secrets = Timeline(it.release.cluster, it.release.kind("secrets"))
    async with Timeline(it.release.cluster, PROFILES) as profiles, secrets:
        await it.release.helm(command, *arguments, values=values)
        event = await profiles.until(lambda e: e.name == it.profile.name and bool(_item(e.object, it.target, path)))
    done = max(e.at for e in secrets.events if e.object["metadata"].get("labels", {}).get("status") == "deployed")
    _in_time(event.at - done, it.target, path)
    return _item(event.object, it.target, path)


def _in_time(seconds: float, target: str, path: str) -> None:
    print(f"told after {seconds * 1000:.0f} ms: {target}{path}")
    assert seconds < TOLD_WITHIN


def _item(profile: Json, target: str, path: str) -> Json:
    items = profile.get("status", {}).get("drift", {}).get("items", ())
    open_items = [item for item in items if item["action"] != "Corrected" and item["target"] == target]
    return next((dict(item) for item in open_items if item["path"].startswith(path)), {})


async def _counted(operator: Operator, profile: str, corrections: int) -> None:
    """Wait until the metrics tell of corrections by upgrades, each of which restarted the servers."""

    def counted() -> bool:
        now = Scrape.of(operator)
        assert now.sum("heal_total", target_kind="Release", result="success") == corrections
        assert now.sum("heal_duration_seconds_count", target_kind="Release") == corrections
        assert now.sum("server_restarts_caused_total", profile=profile, cause="correction") == corrections
        assert now.sum("server_restarts_caused_total", profile=profile, cause="change") == 1  # the take-over
        assert (now.sum("helm_operations_total", operation="upgrade", result="Succeeded") or 0) > corrections
        return True

    await eventually(counted)


async def _corrected(it: Case, number: int) -> None:
    await eventually(lambda: it.number >= number and "nodeSelector" in it.release.config, timeout=PATIENCE)
    await it.settled()
    assert it.number == number


def _template(pod: Json) -> Json:
    return {"template": {"spec": pod}}


def _mutated(it: Case) -> bool:
    """Whether the policy is in force by now: an update without effect shows it."""
    answer = it.release.cluster.kubectl(
        *("annotate", "--overwrite", "--dry-run=server", "-o", "json", "-n", it.release.namespace),
        *(f"deployment/{SERVER}", "probe=x"),
    )
    return '"workload": "elsewhere"' in answer.stdout


def _mutates(namespace: str) -> Json:
    deployments = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    return {
        "metadata": {"name": namespace},
        "spec": {
            "reinvocationPolicy": "Never",
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [{**deployments, "operations": ["CREATE", "UPDATE"]}],
            },
            "mutations": [
                {
                    "patchType": "JSONPatch",
                    "jsonPatch": {
                        "expression": '[JSONPatch{op: "add", path: "/spec/template/spec/nodeSelector", '
                        'value: {"workload": "elsewhere"}}]'
                    },
                }
            ],
        },
    }
