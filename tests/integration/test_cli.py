"""Verbs that only look, beside the operator; and what each says when something is wrong."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from harness import NODE_POOLS, PODS, PROFILES, Kind, LocalOperator, Profile, Workspace, unique
from integration.claims import node_claim
from integration.cli_calls import Cli
from profile_specs import profile as profile_object
from sandbox import Cluster, Parts, cluster, eventually
from sandbox.components import free_ports

LOOKING = ("status", "drift", "events", "plan")
ON_PROFILES = (*LOOKING, "reconcile", "suspend", "resume", "approve")


def written(path: Path, name: str, **spec: object) -> Path:
    """Write the smallest profile, and more, to a file."""
    node_class = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
    smallest = {
        "nodeClassRef": node_class,
        "placement": {"server": f"{name}-server", "content": f"{name}-content"},
        "serverPool": {"name": f"{name}-server"},
        "contentPool": {"name": f"{name}-content"},
    }
    path.write_text(yaml.safe_dump(profile_object({**smallest, **spec}, name)))
    return path


async def test_status_shows_what_hangs_on_a_profile(cli: Cli, ready: Profile, local_workspace: Workspace) -> None:
    claim = node_claim(local_workspace, ready.pool(ready.content))
    document = (await cli("status", ready.name, "-o", "json")).json
    assert (document["profile"], document["ready"]) == (ready.name, "True")
    server, content = document["nodePools"]
    assert (server["name"], server["ready"], server["nodeClaims"]) == (ready.server, "True", [])
    assert [each["name"] for each in content["nodeClaims"]] == [claim]
    assert yaml.safe_load((await cli("status", ready.name, "-o", "yaml")).out) == document
    drawn = await cli("status", ready.name)
    assert drawn.code == 0
    for word in (ready.server, ready.content, claim, "Ready"):
        assert word in drawn.out
    assert "\x1b" not in drawn.out
    name = (await cli("status", ready.name, "-o", "name")).out.strip()
    assert cli.cluster.kubectl("get", name, "-o", "name").stdout.strip() == name


async def test_status_goes_on_showing_what_changes(cli: Cli, ready: Profile) -> None:
    command = [sys.executable, "-m", "connect_autoscaler", "status", ready.name, "--watch", "--interval", "0.2"]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **cli.cluster.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None

    async def shows(text: str) -> None:
        assert process.stdout is not None
        while text not in (line := (await process.stdout.readline()).decode()):
            assert line, "it has ended"

    async with asyncio.timeout(60):
        await shows(ready.content)
        ready.patch({"suspend": True})
        await shows("suspended")
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    refused = await cli("status", ready.name, "--watch", "-o", "json")
    assert (refused.code, "--watch is for" in refused.err) == (2, True)


async def test_plan_has_nothing_to_do_and_then_what_the_operator_would_do(
    cli: Cli, ready: Profile, local_workspace: Workspace
) -> None:
    calm = await cli("plan", ready.name)
    assert (calm.code, calm.out) == (0, f"{ready.name}: nothing to do.\n")
    node_claim(local_workspace, ready.pool(ready.content))
    ready.patch({"contentPool": {"labels": {"example.com/team": "data"}}})
    await eventually(lambda: ready.status.get("planDigest"), timeout=30)
    planned = await cli("plan", ready.name, "-o", "json")
    assert planned.code == 1
    document = planned.json
    assert document["planDigest"] == ready.status["planDigest"], "it is the operator's own plan"
    shown = ("action", "target", "fields", "disruption", "nodeClaims", "reason", "message")
    assert [{key: row[key] for key in shown} for row in document["actions"]] == ready.status["plan"]
    assert document["summary"]["ReplacesNodes"] == 1
    (difference,) = document["actions"][0]["differences"]
    assert json.loads(difference["expected"]) == "data"
    drawn = (await cli("plan", ready.name)).out
    assert drawn.startswith(f"{ready.name}: 1 ReplacesNodes\n")
    assert ready.status["planDigest"] in drawn


async def test_plan_of_a_file_is_complete_and_writes_nothing(cli: Cli, tmp_path: Path, ready: Profile) -> None:
    name = unique()
    file = written(tmp_path / "new.yaml", name)
    mark = cli.cluster.audit.marker()
    planned = await cli("plan", "-f", file, "-o", "json")
    assert planned.code == 1, planned.err
    created = {row["target"] for row in planned.json["actions"] if row["action"] == "Create"}
    assert created == {f"NodePool/{name}-server", f"NodePool/{name}-content"}
    piped = await cli("plan", "-f", "-", "-o", "yaml", input=file.read_text())
    assert yaml.safe_load(piped.out) == planned.json
    changed = ready.read()
    changed["spec"]["contentPool"]["weight"] = 7
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed))
    (row,) = (await cli("plan", "-f", tmp_path / "changed.yaml", "-o", "json")).json["actions"]
    assert (row["action"], row["fields"], row["disruption"]) == ("Apply", ["/spec/weight"], "None")
    assert cli.cluster.audit.count_writes(user="admin", since=mark) == 0
    assert cli.cluster.audit.writes(user="admin", since=mark), "the file was checked by dry runs"
    assert cli.cluster.api.get(version=PROFILES.version, url=f"{PROFILES.plural}/{name}").status_code == 404


async def test_plan_says_what_is_in_the_way(cli: Cli, tmp_path: Path, ready: Profile) -> None:
    missing = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "missing"}
    refused = await cli("plan", "-f", written(tmp_path / "new.yaml", unique(), nodeClassRef=missing))
    assert refused.code == 2
    assert "NodeClassNotFound: KWOKNodeClass.karpenter.kwok.sh missing does not exist" in refused.err
    both = await cli("plan", ready.name, "-f", tmp_path / "new.yaml")
    assert (both.code, "either PROFILE or --filename" in both.err) == (2, True)


async def test_drift_tells_who_and_since_when(cli: Cli, ready: Profile) -> None:
    assert "nothing has drifted" in (await cli("drift", ready.name)).out
    ready.patch({"driftPolicy": {"nodePools": "Warn"}})
    await ready.ready()
    ready.api.merge(NODE_POOLS, ready.content, {"spec": {"weight": 6}})
    await eventually(ready.drift)
    (item,) = (await cli("drift", ready.name, "-o", "json")).json["items"]
    assert (item["path"], item["manager"], item["action"]) == ("/spec/weight", "kubectl-edit", "Reported")
    drawn = await cli("drift", ready.name, "--exit-code")
    assert drawn.code == 1
    for word in (f"NodePool/{ready.content}/spec/weight", "5", "6", "kubectl-edit", "ago", "Reported (Policy)"):
        assert word in drawn.out
    assert (await cli("drift", ready.name)).code == 0
    reported = await cli("plan", ready.name)
    assert (reported.code, "1 differences are reported" in reported.out) == (0, True)


async def test_events_are_in_order(cli: Cli, ready: Profile) -> None:
    ready.api.delete(NODE_POOLS, ready.server)
    await eventually(lambda: _told(cli, ready, "NodePoolDeleted"))
    found = (await cli("events", ready.name, "-o", "json")).json
    reasons = [each["reason"] for each in found]
    assert reasons.index("NodePoolCreated") < reasons.index("NodePoolDeleted")
    assert "NodePoolDeleted" in (await cli("events", ready.name)).out
    warnings = (await cli("events", ready.name, "--warnings", "-o", "json")).json
    assert {each["type"] for each in warnings} == {"Warning"}


def _told(cli: Cli, profile: Profile, reason: str) -> bool:
    listed = cli.cluster.kubectl("get", "events", "-n", "default", "-o", "name", f"--field-selector=reason={reason}")
    return profile.name in listed.stdout


async def test_check_before_and_after(cli: Cli, ready: Profile, tmp_path: Path) -> None:
    before = await cli("check", "--pre", "-o", "json")
    results = {each["name"]: each["result"] for each in before.json}
    assert before.code == 0, before.out
    for name in ("Kubernetes", "Karpenter", "NodeClass", "Your rights", f"Profile {ready.name}"):
        assert results[name] == "Passed"
    assert "Operator" not in results
    after = await cli("check", "-o", "json")
    results = {each["name"]: each["result"] for each in after.json}
    assert after.code == 0, after.out
    assert f"Checking profile {ready.name}\n" in after.err, "it shows progress"
    assert results[f"Profile {ready.name}"] == results[f"Rights for {ready.name}"] == "Passed"
    assert results["Operator"] == "Unknown", "a process plays its pod"
    file = written(tmp_path / "new.yaml", unique(), deletionPolicy={"nodePools": "Delete"})
    failing = await cli("check", "-f", file)
    assert failing.code == 1
    assert "may not delete nodepools.karpenter.sh" in failing.out
    assert "1 of" in failing.out


async def test_check_finds_a_release_that_is_not_there(cli: Cli, tmp_path: Path, local_operator: LocalOperator) -> None:
    del local_operator
    file = written(tmp_path / "new.yaml", unique(), release={"namespace": "default", "name": "connect"})
    failing = await cli("check", "--pre", "-f", file, "-o", "json")
    assert failing.code == 1
    (release,) = (each for each in failing.json if each["name"] == "Release")
    assert "ReleaseNotFound" in release["message"]


async def test_version_of_all_that_runs(cli: Cli) -> None:
    document = (await cli("version", "-o", "json")).json
    assert document["kubernetes"].startswith("v1.")
    assert set(document) == {"client", "operator", "karpenter", "kubernetes"}
    alone = await cli("version", "--client", env={"KUBECONFIG": "/nonexistent"})
    assert (alone.code, document["client"] in alone.out) == (0, True)
    without = await cli("version", env={"KUBECONFIG": "/nonexistent"})
    assert (without.code, document["client"] in without.out, "no kubeconfig" in without.err) == (2, True, True)


async def test_bundle_holds_no_secret(cli: Cli, ready: Profile, tmp_path: Path, local_workspace: Workspace) -> None:
    marker = "MARKER-SECRET-bundle"
    secret = {
        "kind": "Secret",
        "metadata": {"name": unique(), "labels": {"owner": "helm"}},
        "stringData": {"k": marker},
    }
    local_workspace.create(Kind("v1", "secrets", "default"), secret)
    annotations = {"example.com/api-key": marker, "example.com/note": f"see https://me:{marker}@example.com"}
    ready.api.merge(PROFILES, ready.name, {"metadata": {"annotations": annotations}})
    file = tmp_path / "bundle.tar.gz"
    done = await cli("support-bundle", "--file", file)
    assert done.code == 0, done.err
    assert "Collecting events.yaml\n" in done.err, "it shows progress"
    assert file.stat().st_mode & 0o077 == 0
    with tarfile.open(fileobj=io.BytesIO(file.read_bytes())) as archive:
        files = {each.name.partition("/")[2]: archive.extractfile(each) for each in archive.getmembers()}
        texts = {name: stream.read().decode() for name, stream in files.items() if stream is not None}
    assert {"version.json", "profiles.yaml", "nodepools.yaml", "nodeclaims.yaml", "events.yaml"} <= set(texts)
    assert texts["errors.txt"] == "none\n"
    assert ready.name in texts["profiles.yaml"]
    assert [name for name, text in texts.items() if marker in text] == []
    again = await cli("support-bundle", "--file", file)
    assert (again.code, "cannot be written" in again.err) == (2, True)


async def test_bundle_tells_which_log_it_could_not_read(cli: Cli, local_workspace: Workspace, tmp_path: Path) -> None:
    """No kubelet runs here, so no log can be had; that is said, and the rest is there."""
    account, name = Kind("v1", "serviceaccounts", "default"), unique()
    if local_workspace.api.find(account, "default") is None:
        local_workspace.create(account, {"kind": "ServiceAccount", "metadata": {"name": "default"}})
    labels = {"app.kubernetes.io/name": "connect-autoscaler"}
    spec = {"nodeName": "nowhere", "terminationGracePeriodSeconds": 0, "containers": [{"name": "one", "image": "none"}]}
    local_workspace.create(PODS, {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})
    done = await cli("support-bundle", "--file", tmp_path / "bundle.tar.gz", "--namespace", "default")
    assert done.code == 0, done.err
    with tarfile.open(tmp_path / "bundle.tar.gz") as archive:
        texts = {each.name: stream.read().decode() for each in archive if (stream := archive.extractfile(each))}
    assert f"operator/{name}.log: Could not read the log of Pod {name}" in texts["bundle/errors.txt"]
    assert name in texts["bundle/operator/pods.yaml"]


async def test_bundle_says_what_it_may_not_read(local_operator: LocalOperator, tmp_path: Path) -> None:
    nobody = Cli(local_operator.cluster, local_operator.cluster.user_kubeconfig("nobody"))
    done = await nobody("support-bundle", "--file", tmp_path / "bundle.tar.gz")
    assert done.code == 0, done.err
    with tarfile.open(tmp_path / "bundle.tar.gz") as archive:
        stream = archive.extractfile("bundle/errors.txt")
        assert stream is not None
        assert b"profiles.yaml: You may not list ConnectAutoscalingProfiles" in stream.read()


# What is wrong, in one sentence with the next step.


@pytest.mark.parametrize("verb", ON_PROFILES)
async def test_a_name_that_is_not_there_is_answered_with_one_that_is(cli: Cli, ready: Profile, verb: str) -> None:
    missing = await cli(verb, ready.name[:-1] + "z")
    assert missing.code == 2
    assert missing.err.count("\n") == 1
    assert f"There is no profile {ready.name[:-1]}z; did you mean {ready.name}" in missing.err


@pytest.mark.parametrize("verb", [*ON_PROFILES, "check", "uninstall", "support-bundle"])
async def test_no_way_to_a_cluster(cli: Cli, verb: str, tmp_path: Path) -> None:
    nowhere = await cli(verb, env={"KUBECONFIG": str(tmp_path / "none")})
    assert nowhere.code == 2
    assert f"There is no kubeconfig at {tmp_path / 'none'}; name one with --kubeconfig" in nowhere.err
    (port,) = free_ports(1)
    dead = tmp_path / "dead"
    dead.write_text(cli.cluster.kubeconfig.read_text().replace(cli.cluster.server, f"https://127.0.0.1:{port}"))
    down = await cli(verb, "--kubeconfig", dead)
    assert down.code == 2
    assert f"The API server at https://127.0.0.1:{port} does not answer" in down.err
    assert "Connection refused" in down.err


async def test_of_several_kubeconfigs_the_first_ones_context_counts(cli: Cli, ready: Profile, tmp_path: Path) -> None:
    """Also for verbs that plan themselves, on another connection than the rest."""
    other = yaml.safe_load(cli.cluster.kubeconfig.read_text().replace(cli.cluster.server, "https://127.0.0.1:9"))
    names = {each["name"] for section in ("clusters", "users", "contexts") for each in other[section]}
    text = yaml.safe_dump(other)
    for name in names:
        text = text.replace(name, f"other-{name}")
    (tmp_path / "other").write_text(text)
    several = {"KUBECONFIG": os.pathsep.join((str(cli.cluster.kubeconfig), str(tmp_path / "other")))}
    planned = await cli("plan", ready.name, env=several)
    assert (planned.code, planned.out) == (0, f"{ready.name}: nothing to do.\n"), planned.err
    dead = await cli("plan", ready.name, env={"KUBECONFIG": str(tmp_path / "other")})
    assert (dead.code, "https://127.0.0.1:9 does not answer" in dead.err) == (2, True)


async def test_a_kubeconfig_that_cannot_be_used(cli: Cli, tmp_path: Path) -> None:
    other = await cli("status", "--context", "sandbx")
    assert (other.code, "has no context sandbx; did you mean sandbox?" in other.err) == (2, True)
    broken = tmp_path / "broken"
    broken.write_text("clusters: [")
    unreadable = await cli("status", "--kubeconfig", broken)
    assert (unreadable.code, "The kubeconfig cannot be used" in unreadable.err) == (2, True)


@pytest.mark.parametrize("verb", [*ON_PROFILES, "check", "uninstall"])
async def test_without_rights_the_one_that_is_missing_is_named(local_operator: LocalOperator, verb: str) -> None:
    nobody = Cli(local_operator.cluster, local_operator.cluster.user_kubeconfig("nobody"))
    refused = await nobody(verb)
    assert refused.code == 2
    assert "You may not" in refused.err
    assert '"nobody" cannot' in refused.err
    assert refused.err.startswith(("Error: You may not list", "Checking\nChecking Karpenter\nError: You may not read"))


async def test_who_may_only_read_plans_a_file_by_the_rules_of_this_version(
    local_operator: LocalOperator, tmp_path: Path, ready: Profile
) -> None:
    there, name = local_operator.cluster, unique("reader")
    every = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
    binding = {
        **role,
        "kind": "ClusterRoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
    }
    subject = {"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    there.apply({**role, "rules": [every]}, {**binding, "subjects": [subject]})
    reader = Cli(there, there.user_kubeconfig(name))
    planned = await reader("plan", "-f", written(tmp_path / "new.yaml", unique()))
    assert planned.code == 1, planned.err
    assert "You may not write profiles" in planned.err
    assert (await reader("status", ready.name)).code == 0
    suspended = await reader("suspend", ready.name)
    assert (suspended.code, f"You may not change ConnectAutoscalingProfile {ready.name}" in suspended.err) == (2, True)


async def test_without_the_resource_or_karpenter(bare: Cluster, tmp_path: Path) -> None:
    cli = Cli(bare)
    for verb in ON_PROFILES:
        unknown = await cli(verb)
        assert unknown.code == 2
        assert "the cluster does not know this kind; install the resource with kubectl apply -k deploy/" in unknown.err
    before = await cli("check", "--pre", "-o", "json")
    assert before.code == 1
    assert {each["name"]: each["result"] for each in before.json}["Karpenter"] == "Failed"
    planned = await cli("check", "--pre", "-f", written(tmp_path / "new.yaml", unique()))
    assert (planned.code, "install Karpenter" in planned.out) == (1, True), planned.err
    nothing = await cli("uninstall")
    assert (nothing.code, "nothing to let go of" in nothing.out) == (0, True)


@pytest.fixture
async def bare() -> AsyncIterator[Cluster]:
    """An API server that knows neither Karpenter nor the resource."""
    async with cluster(parts=Parts.API, karpenter=None) as running:
        yield running
