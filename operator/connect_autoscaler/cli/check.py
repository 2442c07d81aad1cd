"""`check`: whether everything is there that the operator needs, before and after it is installed."""

import asyncio
from collections.abc import Iterator
from typing import Final

import click
from rich.console import Console
from rich.text import Text

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.names import GROUP, NODEPOOL_CRD, PLURAL
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.status import CheckResult
from connect_autoscaler.cli import rights
from connect_autoscaler.cli.cluster import CRDS, DEPLOYMENTS, PROFILES, Access, Cluster, Json
from connect_autoscaler.cli.errors import NO
from connect_autoscaler.cli.files import ProfileFile
from connect_autoscaler.cli.preview import PlanningVerb, World, preview
from connect_autoscaler.cli.verb import (
    Format,
    cluster_options,
    colour,
    emit,
    output_option,
    progress,
    table,
)
from connect_autoscaler.cli.version import KARPENTER, OPERATOR, SELECTOR, image
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.model import Plan, Snapshot
from connect_autoscaler.nodepools.karpenter import Karpenter

_PASSED, _FAILED, _UNKNOWN = CheckResult.PASSED, CheckResult.FAILED, CheckResult.UNKNOWN
_NONE: Final = CheckResult.NOT_APPLICABLE
_CHART: Final = frozenset(
    {Reason.UNSUPPORTED_CHART, Reason.UNSUPPORTED_CONNECT, Reason.VERSION_UNKNOWN}
    | {Reason.LAUNCHER_ENABLED, Reason.LOCAL_EXECUTION}
)
_STORAGE: Final = frozenset({Reason.STORAGE_MISSING, Reason.STORAGE_NOT_SHARED})
_OWNER: Final = frozenset({Reason.OWNER_AMBIGUOUS, Reason.UNSUPPORTED_STORAGE})


def _made(name: str, result: CheckResult, message: str) -> Json:
    return {"name": name, "result": result.value, "message": message}


@click.command(cls=PlanningVerb)
@click.option("--pre", is_flag=True, help="Before the operator is installed: its own parts are not looked for.")
@click.option("-f", "--filename", metavar="FILE", help="Check for the profile in this file (-: standard input).")
@click.option(
    "--namespace", default=OPERATOR, show_default=True, metavar="NAME", help="Where the operator is, or will be."
)
@output_option(Format.TABLE, Format.JSON, Format.YAML)
@cluster_options
@click.pass_context
def check(
    ctx: click.Context,
    filename: str | None,
    namespace: str,
    form: str,
    kubeconfig: str | None,
    context: str | None,
    *,
    pre: bool,
) -> None:
    """Check what the operator needs, and say what to do.

    Karpenter and its version, the NodeClass, the release with its chart,
    storage and owner, and rights: yours to install with --pre, the operator's
    own afterwards. Looks at every profile, or at the one in a file.

    Exit code: 0 nothing failed, 1 something did, 2 an error.
    """
    access = Access(kubeconfig, context)
    file = ProfileFile.read(filename).profile() if filename else None
    with access.open() as cluster, progress("Checking") as say:
        document = [_made("Kubernetes", _PASSED, f"{cluster.server} is {cluster.version()}")]
        for name, part in (
            ("Karpenter", _karpenter(cluster)),
            ("the operator", _operator(cluster, namespace, pre=pre)),
        ):
            say(f"Checking {name}")
            document += part
        for profile in [file] if file else _profiles(cluster):
            say(f"Checking profile {profile.name}")
            document += _profile(access, World.of(cluster, profile))
            if not pre:
                document += rights.of_operator(cluster, namespace, profile)
    emit(form, document, lambda at: _draw(at, document))
    if any(each["result"] == _FAILED for each in document):
        ctx.exit(NO)


def _karpenter(cluster: Cluster) -> Iterator[Json]:
    crd = cluster.find(CRDS, NODEPOOL_CRD)
    if crd is None:
        yield _made("Karpenter", _FAILED, Reason.KARPENTER_NOT_INSTALLED.explain)
    elif not Karpenter.from_crd(crd).supported:
        yield _made("Karpenter", _FAILED, Reason.UNSUPPORTED_KARPENTER.explain)
    else:
        which = image(cluster, KARPENTER)
        what = f"runs as {which}" if which else "is 1.13 or newer by its NodePool CRD; its Deployment is not to be seen"
        yield _made("Karpenter", _PASSED, f"Karpenter {what}")
        yield _node_classes(cluster)


def _node_classes(cluster: Cluster) -> Json:
    """Providers name their kinds as they like, but all of them end alike."""
    kinds = [
        f"{resource['kind']}.{group['name']}"
        for group in cluster.groups()
        if "karpenter" in group["name"] or group["name"] == "eks.amazonaws.com"
        for resource in cluster.resources(group["preferredVersion"]["groupVersion"])
        if resource["kind"].endswith("NodeClass")
    ]
    if not kinds:
        return _made("NodeClass", _FAILED, "The cluster knows no NodeClass; install a provider of Karpenter")
    return _made("NodeClass", _PASSED, f"nodeClassRef can name {', '.join(sorted(kinds))}")


def _operator(cluster: Cluster, namespace: str, *, pre: bool) -> Iterator[Json]:
    if pre:
        yield from rights.to_install(cluster, namespace)
        return
    crd = cluster.find(CRDS, f"{PLURAL}.{GROUP}")
    if crd is None:
        yield _made("Resource", _FAILED, f"{PLURAL}.{GROUP} does not exist; kubectl apply -k deploy/")
    else:
        stored = ", ".join(crd.get("status", {}).get("storedVersions", ()))
        yield _made("Resource", _PASSED, f"{PLURAL}.{GROUP} is stored as {stored}")
    found = cluster.list(DEPLOYMENTS, namespace, labelSelector=SELECTOR)
    if not found:
        advice = "kubectl apply -k deploy/, or say where it is with --namespace"
        yield _made("Operator", _UNKNOWN, f"There is no Deployment of it in namespace {namespace}; {advice}")
    for body in found:
        up, wanted = body.get("status", {}).get("availableReplicas", 0), body["spec"].get("replicas", 1)
        text = f"Deployment {body['metadata']['name']}: {up} of {wanted} available"
        hint = "" if up else f"; kubectl describe pods -n {namespace}"
        yield _made("Operator", _PASSED if up else _FAILED, text + hint)


def _profiles(cluster: Cluster) -> list[Profile]:
    return [Profile.of(body) for body in cluster.list(PROFILES)] if cluster.knows(PROFILES) else []


def _profile(access: Access, world: World) -> Iterator[Json]:
    profile = world.profiles[0]
    try:
        snapshot, decided = asyncio.run(preview(access, world))
    except KubeError as error:
        yield _made(f"Profile {profile.name}", _UNKNOWN, error.message)
        return
    pools = [*decided.problems, *(pool.problem for pool in decided.pools if pool.problem)]
    for problem in dict.fromkeys(pools):
        yield _made(f"Profile {profile.name}", _FAILED, f"{problem.reason}: {problem.message}")
    if not pools:
        refs = ", ".join(sorted({f"{kind} {name}" for _, kind, name in snapshot.node_classes})) or "none of its own"
        yield _made(f"Profile {profile.name}", _PASSED, f"Nothing is in the way of its NodePools; NodeClass: {refs}")
    if profile.spec.release is None:
        yield _made("Release", _NONE, f"Profile {profile.name} has no spec.release")
    else:
        yield from _release(snapshot, decided)


def _release(snapshot: Snapshot, decided: Plan) -> Iterator[Json]:
    view = snapshot.release
    if view is None or decided.release is None:
        yield _made("Release", _NONE, "driftPolicy.release is Ignore")
        return
    problem, facts = decided.release.problem, view.facts
    reason = problem.reason if problem else None
    text = f"{problem.reason}: {problem.message}" if problem else ""
    if facts is None:
        named = {reason: name for name, group in (("Owner", _OWNER),) for reason in group}
        yield _made(named.get(reason, "Release") if reason else "Release", _FAILED if problem else _UNKNOWN, text)
        return
    elsewhere = problem and reason not in _CHART | _STORAGE | _OWNER
    yield _made("Release", _FAILED, text) if elsewhere else _made("Release", _PASSED, f"{view.target} is deployed")
    yield _made("Owner", _PASSED, f"{view.manager or 'Helm'} writes {view.target}")
    if reason in _CHART:
        yield _made("Chart", _FAILED, text)
        yield _made("Storage", _UNKNOWN, "is looked at once the chart is right")
        return
    yield _made("Chart", _PASSED, f"{facts.chart or 'The Deployment'} takes the overlay")
    storage = _made("Storage", _PASSED, "The release's storage serves servers and content on different nodes")
    yield _made("Storage", _FAILED, text) if reason in _STORAGE else storage


def _draw(at: Console, document: list[Json]) -> None:
    rows = table("CHECK", "RESULT", "MESSAGE")
    for each in document:
        rows.add_row(each["name"], Text(each["result"], colour(each["result"])), each["message"])
    at.print(rows)
    failed = sum(each["result"] == _FAILED for each in document)
    at.print(f"{failed} of {len(document)} checks failed." if failed else f"{len(document)} checks, none failed.")
