"""`support-bundle`: what somebody who helps needs to see, and no secret."""

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from connect_autoscaler import __version__
from connect_autoscaler.api.names import NODECLAIM_CRD, NODEPOOL_CRD
from connect_autoscaler.cli.cluster import (
    CRDS,
    DEPLOYMENTS,
    EVENTS,
    NODE_CLAIMS,
    NODE_POOLS,
    NODES,
    PODS,
    PROFILES,
    SECRETS,
    Access,
    Cluster,
    Json,
)
from connect_autoscaler.cli.errors import CliError
from connect_autoscaler.cli.verb import Verb, cluster_options, progress, to_yaml
from connect_autoscaler.cli.version import SELECTOR, running

_REDACTED: Final = "(redacted)"
_SECRET: Final = re.compile(
    r"(password|passwd|token|secret|licen[cs]e|credential|api[-_]?key|private[-_]?key)", re.IGNORECASE
)
_NAMES: Final = re.compile(r"(name|ref|names)$", re.IGNORECASE)
"""What is called ``secretName`` names a Secret and holds none."""
_IN_TEXT: Final = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {_REDACTED}"),
    (re.compile(r"(://)[^/\s@]+@"), rf"\1{_REDACTED}@"),
    (re.compile(rf"(?i)({_SECRET.pattern}[\w.-]*[\"']?\s*[:=]\s*[\"']?)[^\s\"',}}]+"), rf"\1{_REDACTED}"),
    (re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"), _REDACTED),
    (re.compile(r"-----BEGIN [A-Z ]+-----[\s\S]*?-----END [A-Z ]+-----"), _REDACTED),
)
_DROPPED: Final = frozenset({"managedFields", "kubectl.kubernetes.io/last-applied-configuration"})


@click.command("support-bundle", cls=Verb)
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it. Default: connect-autoscaler-support-<time>.tar.gz here.",
)
@click.option(
    "--namespace", default="connect-autoscaler", show_default=True, metavar="NAME", help="Where the operator runs."
)
@click.option("--lines", type=click.IntRange(1), default=2000, show_default=True, help="Of each log, the last ones.")
@cluster_options
def support_bundle(path: Path | None, namespace: str, lines: int, kubeconfig: str | None, context: str | None) -> None:
    """Collect what somebody who helps needs to see.

    Versions, profiles, NodePools, NodeClaims, nodes, events, Deployments, and
    the end of the operator's log. Of Secrets the names only, never the data;
    what looks like a secret elsewhere is redacted. Look through it before you
    pass it on. What you may not read is left out, and listed in errors.txt.

    Exit code: 0 written, 2 an error.
    """
    made = path or Path(f"connect-autoscaler-support-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar.gz")
    errors: list[str] = []
    with Access(kubeconfig, context).open() as cluster, progress("Collecting") as say:
        cluster.version()  # a cluster that does not answer is an error, not an empty bundle
        files = {}
        for name, read in _parts(cluster, namespace, lines):
            say(f"Collecting {name}")
            try:
                files[name] = read()
            except CliError as error:
                errors.append(f"{name}: {error.message}")
    files["errors.txt"] = "\n".join(errors) + "\n" if errors else "none\n"
    try:
        _write(made, files)
    except OSError as error:
        raise CliError(f"{made} cannot be written: {error.strerror}; name another place with --file") from error
    click.echo(f"{made}: {len(files)} files, {len(errors)} could not be read")


def _parts(cluster: Cluster, namespace: str, lines: int) -> Iterator[tuple[str, Callable[[], str]]]:
    def listed(*args: Any, **query: Any) -> str:
        return to_yaml(*redacted(cluster.list(*args, **query)))

    yield "version.json", lambda: json.dumps({"client": __version__, **running(cluster)}, indent=2) + "\n"
    yield "profiles.yaml", partial(listed, PROFILES)
    yield "nodepools.yaml", partial(listed, NODE_POOLS)
    yield "nodeclaims.yaml", partial(listed, NODE_CLAIMS)
    yield "nodes.yaml", partial(listed, NODES, labelSelector="karpenter.sh/nodepool")
    yield "events.yaml", partial(listed, EVENTS, "default")
    yield "operator/deployments.yaml", partial(listed, DEPLOYMENTS, namespace)
    yield "operator/pods.yaml", partial(listed, PODS, namespace)
    yield "operator/events.yaml", partial(listed, EVENTS, namespace)
    yield "definitions.json", partial(_definitions, cluster)
    try:
        pods = cluster.list(PODS, namespace, labelSelector=SELECTOR)
        releases = sorted({_release(each) for each in cluster.list(PROFILES)} - {None})
    except CliError:
        return  # said above
    for name in (each["metadata"]["name"] for each in pods):
        yield f"operator/{name}.log", partial(_log, cluster, namespace, name, lines)
    for where in filter(None, releases):
        yield f"releases/{where}/deployments.yaml", partial(listed, DEPLOYMENTS, where)
        yield f"releases/{where}/pods.yaml", partial(listed, PODS, where)
        yield f"releases/{where}/revisions.json", partial(_revisions, cluster, where)


def _release(profile: Json) -> str:
    return str(profile["spec"].get("release", {}).get("namespace", ""))


def _log(cluster: Cluster, namespace: str, pod: str, lines: int) -> str:
    return text(cluster.log(namespace, pod, lines))


def _definitions(cluster: Cluster) -> str:
    found = {}
    for name in ("connectautoscalingprofiles.connect-autoscaler.io", NODEPOOL_CRD, NODECLAIM_CRD):
        body = cluster.find(CRDS, name)
        found[name] = (
            {
                "served": [v["name"] for v in body["spec"]["versions"] if v["served"]],
                "stored": body.get("status", {}).get("storedVersions", []),
                "annotations": redacted(body["metadata"].get("annotations", {})),
            }
            if body
            else None
        )
    return json.dumps(found, indent=2) + "\n"


def _revisions(cluster: Cluster, namespace: str) -> str:
    """Names and labels of Helm's Secrets: which revisions there are, and what became of them."""
    found = cluster.list(SECRETS, namespace, metadata=True, labelSelector="owner=helm")
    return json.dumps([{k: each["metadata"].get(k) for k in ("name", "labels")} for each in found], indent=2) + "\n"


def redacted(value: Any, key: str = "") -> Any:
    """A document without what is or looks like a secret, and without what nobody reads."""
    if key == "env" and isinstance(value, list):
        return [_variable(each) for each in value]
    if isinstance(value, Mapping):
        named = str(value.get("name", "")) if set(value) <= {"name", "value"} else ""
        return {k: redacted(v, named if k == "value" and named else k) for k, v in value.items() if k not in _DROPPED}
    if isinstance(value, list):
        return [redacted(each, key) for each in value]
    if isinstance(value, str):
        return _REDACTED if value and _SECRET.search(key) and not _NAMES.search(key) else text(value)
    return value


def _variable(entry: Json) -> Json:
    """A variable of a container: who knows what others put into theirs."""
    known = str(entry.get("name", "")).startswith("CONNECT_AUTOSCALER_")
    return redacted({**entry, **({} if known or "value" not in entry else {"value": _REDACTED})})  # type: ignore[no-any-return]


def text(value: str) -> str:
    """A text without what looks like a secret."""
    for pattern, instead in _IN_TEXT:
        value = pattern.sub(instead, value)
    return value


def _write(path: Path, files: Mapping[str, str]) -> None:
    top = path.name.removesuffix(".gz").removesuffix(".tar")
    with path.open("xb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
        path.chmod(0o600)
        for name, content in files.items():
            data = content.encode()
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size, info.mtime, info.mode = len(data), int(datetime.now(UTC).timestamp()), 0o600
            archive.addfile(info, io.BytesIO(data))
