"""Content as a server of Connect starts it: a Kubernetes Job made of the job base that the chart rendered."""

import secrets
import string
from typing import Any, Final

import yaml

from harness.api import Api, Json, Kind
from harness.releases import SERVER, Release

LABELS: Final = {"app.kubernetes.io/name": "rstudio_connect"}
_RENDERED: Final = "RenderedContentAnnotation"
_JOB_BASE: Final = "job.yaml"
_CHARACTERS: Final = string.ascii_lowercase + string.digits
_FOR_EVER: Final = "8760h"


class Launcher:
    """Starts content for a release.

        connect = ConnectServer(launcher=Launcher(release))

    Args:
        release: Its ConfigMap holds the job base and the settings, as they are at each start.
        duration: How long content runs, a Go duration; it can be changed at any time. Nodes have to be kwok's. Empty:
            until somebody ends it.
    """

    def __init__(self, release: Release, duration: str = "") -> None:
        self.duration = duration
        self._release, self._api = release, Api(release.cluster.api)

    def launch(self, content: Json, tag: str) -> str:
        """Start a Job; return its name.

        Args:
            content: The content item.
            tag: Of the API's job.
        """
        data = self._api.get(self._release.kind("configmaps"), f"{SERVER}-config")["data"]
        settings = gcfg(data["rstudio-connect.gcfg"], "Kubernetes")
        job = yaml.safe_load(data[_JOB_BASE])
        verb = tag.partition("_")[0]
        name = f"{'render' if verb in {'build', 'render'} else verb}-{content['name']}"[:57].rstrip("-")
        name += "-" + "".join(secrets.choice(_CHARACTERS) for _ in range(5))
        _complete(job, name)
        meta = job["spec"]["template"].setdefault("metadata", {})
        annotations = meta.setdefault("annotations", {})
        if verb in {"build", "render"}:
            annotations |= dict(each.split("=", 1) for each in settings.get(_RENDERED, ()))
        # How long kwok lets the pod run: without this, a second or more.
        for key in ("delay", "jitter-delay"):
            annotations[f"pod-complete.stage.kwok.x-k8s.io/{key}"] = self.duration or _FOR_EVER
        meta["labels"] = {**meta.get("labels", {}), **LABELS}
        self._api.create(self._jobs(settings), job, manager="rstudio-connect")
        return name

    def finished(self, name: str) -> bool:
        """Tell whether a Job is over or gone."""
        job = self._api.find(self._jobs(self._settings()), name)
        if job is None:
            return True
        conditions = job.get("status", {}).get("conditions", ())
        return any(each["type"] in {"Complete", "Failed"} and each["status"] == "True" for each in conditions)

    def _settings(self) -> dict[str, list[str]]:
        data = self._api.get(self._release.kind("configmaps"), f"{SERVER}-config")["data"]
        return gcfg(data["rstudio-connect.gcfg"], "Kubernetes")

    def _jobs(self, settings: dict[str, list[str]]) -> Kind:
        return Kind("batch/v1", "jobs", settings["Namespace"][-1])


def gcfg(text: str, section: str) -> dict[str, list[str]]:
    """Return the settings of a section; one that is given several times has several values."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{section}]"
        elif inside and "=" in line:
            key, _, value = line.partition("=")
            found.setdefault(key.strip(), []).append(value.strip())
    return found


def _complete(job: dict[str, Any], name: str) -> None:
    """Fill in what the base leaves to Connect."""
    job["metadata"] = {**job.get("metadata", {}), "name": name}
    job["metadata"]["labels"] = {**job["metadata"].get("labels", {}), **LABELS}
    spec = job.setdefault("spec", {}).setdefault("template", {}).setdefault("spec", {})
    job["spec"].setdefault("backoffLimit", 0)
    spec.setdefault("restartPolicy", "Never")
    containers = spec.setdefault("containers", [])
    if not containers:
        containers.append({"name": "connect-content"})
    for container in containers:
        container.setdefault("image", "content")
