"""Renders a chart with Helm and shows what a test wants to see of the result."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

Values = Mapping[str, Any]

# The least that the chart accepts (storage), and a licence.
BASE: Values = {"sharedStorage": {"create": True, "mount": True}, "license": {"key": "AAAA-BBBB"}}


@cache
def template(helm: Path, chart: Path, release: str, *layers: str) -> subprocess.CompletedProcess[str]:
    """Run `helm template` with layers of values (JSON), later ones over earlier ones; once per set of arguments."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [str(helm), "template", release, str(chart), "--namespace", "posit"]
        for number, layer in enumerate(layers):
            path = Path(scratch, f"{number}.json")
            path.write_text(layer)
            command += ["--values", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Rendered:
    """What a chart makes of values."""

    text: str

    @cached_property
    def objects(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Every object by its kind and name."""
        documents = [document for document in yaml.safe_load_all(self.text) if document]
        objects = {(document["kind"], document["metadata"]["name"]): document for document in documents}
        assert len(objects) == len(documents)
        return objects

    @property
    def kinds(self) -> list[str]:
        return sorted(kind for kind, _ in self.objects)

    def only(self, kind: str, suffix: str = "") -> dict[str, Any]:
        (found,) = (entry for (of, name), entry in self.objects.items() if of == kind and name.endswith(suffix))
        return found

    @property
    def deployment(self) -> dict[str, Any]:
        return self.only("Deployment")

    @property
    def template(self) -> dict[str, Any]:
        template: dict[str, Any] = self.deployment["spec"]["template"]
        return template

    @property
    def container(self) -> dict[str, Any]:
        containers: list[dict[str, Any]] = self.template["spec"]["containers"]
        assert containers[0]["name"] == "connect"
        return containers[0]

    @property
    def config(self) -> dict[str, str]:
        data: dict[str, str] = self.only("ConfigMap", "-config")["data"]
        return data

    @property
    def gcfg(self) -> dict[str, list[str]]:
        """The lines of each section of rstudio-connect.gcfg."""
        blocks = (block.splitlines() for block in self.config["rstudio-connect.gcfg"].split("\n\n") if block.strip())
        return {head.strip("[]"): lines for head, *lines in blocks}

    @property
    def job(self) -> dict[str, Any]:
        job: dict[str, Any] = yaml.safe_load(self.config["job.yaml"])
        return job

    @property
    def job_spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.job["spec"]["template"]["spec"]
        return spec

    @property
    def contract(self) -> dict[str, Any]:
        """What two charts that honour the same contract have in common; their own settings and scripts may differ."""
        spec, pod, metadata = self.deployment["spec"], self.template["spec"], self.template["metadata"]
        places = {mount["mountPath"]: mount.get("subPath") for mount in self.container["volumeMounts"]}
        objects = (
            f"{kind} {entry['metadata'].get('namespace', 'posit')}/{name}"
            for (kind, name), entry in self.objects.items()
            if kind != "ConfigMap"
        )
        return {
            "objects": sorted(objects),
            "deployment": {key: value for key, value in spec.items() if key != "template"},
            "labels": metadata["labels"],
            "annotations": {
                key: key.startswith("checksum/") or value for key, value in metadata["annotations"].items()
            },
            "pod": {key: value for key, value in pod.items() if key not in ("containers", "volumes")},
            "container": {key: self.container.get(key) for key in ("image", "args", "resources", "ports")},
            "mounts": {path: part for path, part in places.items() if "launcher" not in path},
            "sections": {name: self.gcfg.get(name) for name in ("Kubernetes", "Licensing", "Metrics")},
            "bases": {name: yaml.safe_load(text) for name, text in self.config.items() if name.endswith(".yaml")},
        }


@dataclass(frozen=True)
class Chart:
    helm: Path
    path: Path

    def run(self, *layers: Values, release: str = "connect") -> subprocess.CompletedProcess[str]:
        return template(self.helm, self.path, release, json.dumps(BASE), *map(json.dumps, layers))

    def render(self, *layers: Values, release: str = "connect") -> Rendered:
        """Render BASE with the layers over it, merged by Helm as several files of values are."""
        run = self.run(*layers, release=release)
        assert run.returncode == 0, run.stderr
        return Rendered(run.stdout)

    def refusal(self, *layers: Values) -> str:
        run = self.run(*layers)
        assert run.returncode != 0, "it rendered"
        return run.stderr
