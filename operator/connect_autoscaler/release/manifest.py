"""Rendered and live objects of the Connect chart, and how much of the overlay can be seen in them.

What objects show is told in the form of the overlay, so that one comparison serves values, the stored manifest, live
objects and pods alike. Source of the objects' shape: ``rstudio-connect`` 0.9.0 to 0.21.0, rendered.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import yaml

from connect_autoscaler.api.pointers import covers
from connect_autoscaler.release.lists import (
    JOB_BASE,
    LISTS,
    RENDERED,
    SERVER_SPREAD,
    SERVER_TOLERATIONS,
    KeyedList,
    elements,
)
from connect_autoscaler.release.overlay import BACKEND, SERVER_ANNOTATIONS, SERVER_SELECTOR
from connect_autoscaler.release.values import Json, Path, effective, get, put, same

GCFG: Final = "rstudio-connect.gcfg"
JOB: Final = "job.yaml"
_CONTAINER: Final = "connect"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Of the safe ones that in C, where there is one: live objects are read in every pass."""
_SECTION: Final = "Kubernetes"
_TEMPLATE: Final[Path] = ("spec", "template")


class ObjectKey(NamedTuple):
    """What names an object of a release."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


Objects = Mapping[ObjectKey, Json]


class Server(NamedTuple):
    """The objects that carry the overlay."""

    deployment: ObjectKey
    config: ObjectKey | None


def objects(manifest: str, namespace: str) -> dict[ObjectKey, Json]:
    """Split a manifest into its objects.

    Args:
        manifest: As Helm stored it.
        namespace: Of the release, for objects that name none.

    Raises:
        yaml.YAMLError: It is no YAML; Helm would not have stored it.
    """
    found = {}
    for document in yaml.load_all(manifest, Loader=_LOADER):
        if isinstance(document, dict) and "kind" in document:
            meta = document.get("metadata") or {}
            found[ObjectKey(document["kind"], meta.get("namespace") or namespace, meta.get("name", ""))] = document
    return found


def find_server(rendered: Objects) -> Server | None:
    """The Deployment that runs container ``connect``, and the ConfigMap with its configuration; None: not there."""
    deployment = next((key for key, each in rendered.items() if key.kind == "Deployment" and runs_connect(each)), None)
    if deployment is None:
        return None
    config = next(
        (k for k, each in rendered.items() if k.kind == "ConfigMap" and GCFG in (each.get("data") or {})), None
    )
    return Server(deployment, config)


def runs_connect(deployment: Mapping[str, Any]) -> bool:
    """Whether a Deployment is that of Connect servers."""
    containers = get(deployment, (*_TEMPLATE, "spec", "containers")) or []
    return any(container.get("name") == _CONTAINER for container in containers)


def changed(before: Objects, after: Objects) -> tuple[ObjectKey, ...]:
    """Objects that differ, sorted."""
    return tuple(sorted(key for key in {*before, *after} if before.get(key) != after.get(key)))


def restarts(before: Objects, after: Objects, server: Server) -> bool:
    """Whether the server's pods are replaced: its pod template differs."""
    return get(before.get(server.deployment), _TEMPLATE) != get(after.get(server.deployment), _TEMPLATE)


def service_url(rendered: Objects, selector: Mapping[str, str]) -> str | None:
    """Address, from within the cluster, of the Service before pods with these labels; None: there is none."""
    for key, each in rendered.items():
        spec = each.get("spec") or {}
        if key.kind == "Service" and spec.get("selector") and spec["selector"].items() <= selector.items():
            ports = spec.get("ports") or ()
            port = next((p["port"] for p in ports if p.get("name") == "http"), ports[0]["port"] if ports else 80)
            return f"http://{key.name}.{key.namespace}.svc:{port}"
    return None


def shown_by_pod(pod: Mapping[str, Any]) -> Json:
    """What a pod, or a pod template, shows of the overlay."""
    spec = pod.get("spec") or {}
    shown: Json = {key: spec[key] for (key,) in (SERVER_SELECTOR, SERVER_TOLERATIONS, SERVER_SPREAD) if spec.get(key)}
    put(shown, SERVER_ANNOTATIONS, get(pod, ("metadata", "annotations")) or {})
    return shown


def shown_by_config(config: Mapping[str, Any]) -> Json:
    """What the server's ConfigMap shows of the overlay. Text that is no YAML shows nothing."""
    data = config.get("data") or {}
    shown: Json = {}
    lines = list(_section(data.get(GCFG, "")))
    put(shown, BACKEND, any(value.lower() == "true" for name, value in lines if name == "Enabled"))
    put(shown, RENDERED, [value for name, value in lines if name == RENDERED[-1]])
    try:
        job = yaml.load(data.get(JOB, ""), Loader=_LOADER)  # noqa: S506 - a safe one
    except yaml.YAMLError:
        job = None
    put(shown, JOB_BASE, job if isinstance(job, dict) else {})
    return shown


def gcfg_value(config: Mapping[str, Any], key: str) -> str | None:
    """The last value of a key in section ``[Kubernetes]`` of the server's configuration; None: it is not set."""
    lines = list(_section((config.get("data") or {}).get(GCFG, "")))
    return next((value for name, value in reversed(lines) if name == key), None)


def shown_by(found: Objects, server: Server) -> Json:
    """What rendered or live objects show of the overlay; a missing object shows nothing."""
    template = get(found.get(server.deployment), _TEMPLATE) or {}
    config = found.get(server.config) if server.config else None
    return effective(shown_by_pod(template), shown_by_config(config or {}))


def _section(gcfg: str) -> Iterator[tuple[str, str]]:
    """Keys and values of section ``[Kubernetes]``; keys may repeat."""
    inside = False
    for line in map(str.strip, gcfg.splitlines()):
        if line.startswith("["):
            inside = line.strip("[] ") == _SECTION
        elif inside and not line.startswith((";", "#")):
            name, equals, value = line.partition("=")
            if equals:
                yield name.strip(), value.strip().strip('"')


def in_effect(values: Mapping[str, Any], wanted: Mapping[str, Any], path: Path = ()) -> Json:
    """The part of the values that serves the overlay, in the overlay's form.

    Where the user's value stays, or a wider toleration of his serves, objects show that and not ours.
    """
    found: Json = {}
    for key, want in wanted.items():
        below = (*path, key)
        have = get(values, below)
        if below in LISTS:
            found[key] = [_serving(LISTS[below], elements(have), item) for item in elements(want)]
        elif isinstance(want, Mapping):
            found[key] = in_effect(values, want, below)
        else:
            found[key] = have if have is not None and same(have, want) else want
    return found


def _serving(kind: KeyedList, have: Sequence[Any], item: Any) -> Any:
    """The element that stands for a wanted one: itself, or one that serves, or else the one of its key."""
    fits: tuple[Callable[[Any, Any], bool], ...] = (
        same,
        kind.serves,
        lambda one, other: kind.key(one) == kind.key(other),
    )
    return next((each for fit in fits for each in have if fit(each, item)), item)


_PLACES: Final[tuple[tuple[Path, str, str], ...]] = (
    (SERVER_ANNOTATIONS, "deployment", "/spec/template/metadata/annotations"),
    (SERVER_SELECTOR, "deployment", "/spec/template/spec/nodeSelector"),
    (SERVER_TOLERATIONS, "deployment", "/spec/template/spec/tolerations"),
    (SERVER_SPREAD, "deployment", "/spec/template/spec/topologySpreadConstraints"),
    (BACKEND, "config", f"/data/{GCFG}#/Kubernetes/Enabled"),
    (RENDERED, "config", f"/data/{GCFG}#/Kubernetes/RenderedContentAnnotation"),
    (JOB_BASE, "config", f"/data/{JOB}#"),
)


class Place(NamedTuple):
    """Where in the objects a value of the overlay shows."""

    in_config: bool
    """In the ConfigMap; else in the Deployment."""
    pointer: str


def place(values_pointer: str) -> Place:
    """Where in the objects a value shows.

    Args:
        values_pointer: JSON pointer of the value, such as ``/pod/annotations/karpenter.sh~1do-not-disrupt``.
    """
    for path, where, shown_at in _PLACES:
        prefix = "/" + "/".join(path)
        if covers(prefix, values_pointer):
            return Place(where == "config", shown_at + values_pointer.removeprefix(prefix))
    raise ValueError(values_pointer)
