"""`status`: from the profile to its NodePools, NodeClaims, nodes and pods, and to its release."""

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import click
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from connect_autoscaler.api.names import LABEL_CAPACITY_TYPE, LABEL_NODEPOOL
from connect_autoscaler.cli.cluster import (
    DEPLOYMENTS,
    NODE_CLAIMS,
    NODE_POOLS,
    NODES,
    PODS,
    Access,
    Cluster,
    Json,
    Kind,
)
from connect_autoscaler.cli.errors import ApiError
from connect_autoscaler.cli.events import subjects
from connect_autoscaler.cli.verb import (
    Format,
    Verb,
    choose,
    cluster_options,
    colour,
    condition,
    console,
    emit,
    named,
    output_option,
    profile_argument,
    ready,
)
from connect_autoscaler.release.manifest import runs_connect

_TYPE: Final = "node.kubernetes.io/instance-type"
_ZONE: Final = "topology.kubernetes.io/zone"
_PRICES: Final = ("eks-node-viewer/instance-price",)
"""Labels that hold USD per hour. Karpenter itself puts none on its nodes."""
_OVER: Final = frozenset({"Succeeded", "Failed"})
_ASKED: Final = 50
"""Nodes whose pods are asked for, at most."""


@click.command(cls=Verb)
@profile_argument
@click.option("-w", "--watch", is_flag=True, help="Go on showing it until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.2),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="With --watch.",
)
@output_option(Format.TABLE, Format.JSON, Format.YAML, Format.NAME)
@cluster_options
def status(
    profile: str | None, form: str, interval: float, kubeconfig: str | None, context: str | None, *, watch: bool
) -> None:
    """Show a profile with all that hangs on it, as a tree.

    \b
    profile > NodePools > NodeClaims > nodes (type, price) > pods
            > release > Deployment > pods

    A price is shown where a label of the node tells it.

    Exit code: 0 done, 2 an error. For a condition: kubectl wait.
    """  # noqa: D301 - click's own mark of what it must not wrap
    if watch and form != Format.TABLE:
        raise click.UsageError("--watch is for -o table")
    with Access(kubeconfig, context).open() as cluster:
        document = gather(cluster, choose(cluster, profile))
        if watch:
            _follow(cluster, document, interval)
            return
    emit(form, document, lambda at: at.print(tree(document)), [document["object"]])


def gather(cluster: Cluster, body: Json) -> Json:
    """Read all that hangs on a profile."""
    known = cluster.knows(NODE_POOLS)
    names = [name for kind, name in subjects(body) if kind == "NodePool"]
    selector = f"{LABEL_NODEPOOL} in ({','.join(names)})"
    live = {each["metadata"]["name"]: each for each in cluster.list(NODE_POOLS)} if known else {}
    claims, hidden = _visible(cluster, NODE_CLAIMS, selector) if known else ([], None)
    listed, unseen = _visible(cluster, NODES, selector)
    nodes = {each["metadata"]["name"]: each for each in listed}
    reported = {each["name"]: each for each in (body.get("status") or {}).get("nodePools", ())}
    state, message = ready(body)
    made: Json = {
        "object": named(body),
        "profile": body["metadata"]["name"],
        "mode": body["spec"].get("mode", "Enforce"),
        "suspended": body["spec"].get("suspend", False),
        "ready": state,
        "message": message,
        "conditions": (body.get("status") or {}).get("conditions", []),
        "nodePools": [],
    }
    if missing := [each for each in (hidden, unseen) if each]:
        made["hidden"] = missing
    pods = _pods(cluster, list(nodes)[:_ASKED])
    for name in names:
        mine = [each for each in claims if each["metadata"].get("labels", {}).get(LABEL_NODEPOOL) == name]
        made["nodePools"].append(
            {
                "name": name,
                "role": reported.get(name, {}).get("role"),
                "exists": name in live,
                "ready": condition(live.get(name, {}), "Ready").get("status", "Unknown"),
                "nodeClaims": [_claim(each, nodes, pods) for each in mine],
            }
        )
    if release := body["spec"].get("release"):
        made["release"] = _release(cluster, body, release)
    return made


def _visible(cluster: Cluster, kind: Kind, selector: str) -> tuple[list[Json], str | None]:
    """Objects of a kind; none, and why, if they may not be seen."""
    try:
        return cluster.list(kind, labelSelector=selector), None
    except ApiError as error:
        if error.code != HTTPStatus.FORBIDDEN:
            raise
        return [], error.message


def _claim(claim: Json, nodes: dict[str, Json], pods: dict[str, list[Json]]) -> Json:
    made: Json = {
        "name": claim["metadata"]["name"],
        "ready": condition(claim, "Ready").get("status", "Unknown"),
        "drifted": condition(claim, "Drifted").get("status") == "True",
        "deleting": "deletionTimestamp" in claim["metadata"],
    }
    if (name := (claim.get("status") or {}).get("nodeName")) is None:
        return made
    labels = {**claim["metadata"].get("labels", {}), **nodes.get(name, {}).get("metadata", {}).get("labels", {})}
    node: Json = {"name": name, "ready": condition(nodes.get(name, {}), "Ready").get("status", "Unknown")}
    price = next((labels[key] for key in _PRICES if key in labels), None)
    told = {"type": labels.get(_TYPE), "capacity": labels.get(LABEL_CAPACITY_TYPE), "zone": labels.get(_ZONE)}
    node |= {key: value for key, value in {**told, "pricePerHour": price}.items() if value}
    if name in pods:
        node["pods"] = pods[name]
    return {**made, "node": node}


def _pods(cluster: Cluster, nodes: Iterable[str]) -> dict[str, list[Json]]:
    """Pods by node; none of a node if they may not be seen."""
    found: dict[str, list[Json]] = {}
    for node in nodes:
        try:
            pods = cluster.list(PODS, fieldSelector=f"spec.nodeName={node}")
        except ApiError as error:
            if error.code == HTTPStatus.FORBIDDEN:
                return found
            raise
        found[node] = [_pod(each) for each in pods if _phase(each) not in _OVER]
    return found


def _pod(body: Json) -> Json:
    meta = body["metadata"]
    made = {"namespace": meta["namespace"], "name": meta["name"], "phase": _phase(body)}
    made["ready"] = condition(body, "Ready").get("status", "Unknown")
    return {**made, **({"node": body["spec"]["nodeName"]} if "nodeName" in body["spec"] else {})}


def _phase(pod: Json) -> str:
    return "Terminating" if "deletionTimestamp" in pod["metadata"] else str(pod.get("status", {}).get("phase"))


def _release(cluster: Cluster, body: Json, release: Json) -> Json:
    known = (body.get("status") or {}).get("release") or {}
    made: Json = {
        "namespace": release["namespace"],
        "name": release["name"],
        "configured": condition(body, "ReleaseConfigured").get("status", "Unknown"),
        **{key: known[key] for key in ("revision", "chart", "manager") if key in known},
        "deployments": [],
    }
    try:
        for each in cluster.list(DEPLOYMENTS, release["namespace"]):
            if not (runs_connect(each) and _instance(each) == release["name"]):
                continue
            labels = each["spec"]["selector"].get("matchLabels", {})
            chosen = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
            pods = cluster.list(PODS, release["namespace"], labelSelector=chosen)
            counts = each.get("status", {})
            made["deployments"].append(
                {
                    "name": each["metadata"]["name"],
                    "replicas": each["spec"].get("replicas", 1),
                    "available": counts.get("availableReplicas", 0),
                    "pods": [_pod(pod) for pod in pods],
                }
            )
    except ApiError as error:
        made["unknown"] = error.message
    return made


def _instance(deployment: Json) -> str | None:
    labels = deployment["spec"]["template"]["metadata"].get("labels", {})
    return str(labels["app.kubernetes.io/instance"]) if "app.kubernetes.io/instance" in labels else None


def tree(document: Json) -> Tree:
    """Draw what was gathered."""
    head = Text.assemble(
        (document["profile"], "bold"), "  ", _state("Ready", document["ready"]), f"  {document['mode']}"
    )
    if document["suspended"]:
        head.append("  suspended", "yellow")
    root = Tree(head)
    root.add(Text(document["message"], "dim"))
    for text in document.get("hidden", ()):
        root.add(Text(text, "yellow"))
    for pool in document["nodePools"]:
        state = _state("Ready", pool["ready"]) if pool["exists"] else Text("does not exist", "red")
        role = f" ({pool['role']})" if pool["role"] else ""
        branch = root.add(Text.assemble("NodePool ", (pool["name"], "bold"), f"{role}  ", state))
        for claim in pool["nodeClaims"]:
            _draw_claim(branch, claim)
    if release := document.get("release"):
        _draw_release(root, release)
    return root


def _draw_claim(branch: Tree, claim: Json) -> None:
    marks = [word for word in ("drifted", "deleting") if claim[word]]
    twig = branch.add(
        Text.assemble(
            f"NodeClaim {claim['name']}  ", _state("Ready", claim["ready"]), (f"  {' '.join(marks)}".rstrip(), "yellow")
        )
    )
    if (node := claim.get("node")) is None:
        return
    facts = [node[key] for key in ("type", "capacity", "zone") if key in node]
    if price := node.get("pricePerHour"):
        facts.append(f"{price} USD/h")
    leaf = twig.add(Text.assemble(f"Node {node['name']}  ", _state("Ready", node["ready"]), f"  {', '.join(facts)}"))
    _draw_pods(leaf, node.get("pods"))


def _draw_pods(leaf: Tree, pods: list[Json] | None) -> None:
    if pods is None:
        leaf.add(Text("its pods cannot be seen", "dim"))
        return
    for pod in pods:
        leaf.add(
            Text.assemble(f"Pod {pod['namespace']}/{pod['name']}  {pod['phase']}  ", _state("Ready", pod["ready"]))
        )


def _draw_release(root: Tree, release: Json) -> None:
    facts = [f"revision {release['revision']}"] if "revision" in release else []
    facts += [release[key] for key in ("chart", "manager") if key in release]
    branch = root.add(
        Text.assemble(
            "Release ",
            (f"{release['namespace']}/{release['name']}", "bold"),
            "  ",
            _state("Configured", release["configured"]),
            f"  {', '.join(facts)}",
        )
    )
    for each in release["deployments"]:
        whole = "True" if each["available"] == each["replicas"] else "False"
        count = Text(f"{each['available']}/{each['replicas']} available", colour(whole))
        twig = branch.add(Text.assemble(f"Deployment {each['name']}  ", count))
        for pod in each["pods"]:
            where = f"  on {pod['node']}" if "node" in pod else ""
            twig.add(Text.assemble(f"Pod {pod['name']}  {pod['phase']}  ", _state("Ready", pod["ready"]), where))
    if unknown := release.get("unknown"):
        branch.add(Text(unknown, "red"))


def _state(name: str, value: str) -> Text:
    return Text({"True": name, "False": f"not {name}"}.get(value, f"{name} unknown"), colour(value))


def _follow(cluster: Cluster, document: Json, interval: float) -> None:
    """Show it anew whenever it has changed; Ctrl-C ends it in good order."""
    at, name = console(), document["profile"]
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        show: Callable[[Tree], Any] = at.print
        if at.is_terminal:
            live = stack.enter_context(Live(console=at, auto_refresh=False))
            show = partial(live.update, refresh=True)
        show(tree(document))
        while True:
            time.sleep(interval)
            last, document = document, gather(cluster, choose(cluster, name))
            if document != last:
                show(tree(document))
