"""Kubeconfig files, made into one that pykube can use.

pykube reads a single file with paths from the root, and would put what is embedded into the shared temporary directory,
and leave it there. The merger of the ``kubernetes`` package costs half a second to import.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

_STABLE: Final = "client.authentication.k8s.io/v1"
_BETA: Final = "client.authentication.k8s.io/v1beta1"
_EMBEDDED: Final = ("certificate-authority", "client-certificate", "client-key")
_SECTIONS: Final = (("clusters", "cluster"), ("users", "user"), ("contexts", "context"))


def merged(paths: Sequence[Path], private: Path) -> dict[str, Any]:
    """Merge kubeconfig files as kubectl does: whichever names something first, defines it.

    Args:
        paths: The files; all of them exist.
        private: A directory for what is embedded in them.
    """
    document: dict[str, Any] = {section: [] for section, _ in _SECTIONS}
    for path in paths:
        loaded = yaml.safe_load(path.read_text())
        for section, inner in _SECTIONS:
            known = document[section]
            for entry in loaded.get(section) or ():
                if all(entry["name"] != each["name"] for each in known):
                    settings = dict(entry.get(inner) or {})
                    _settle(settings, path.resolve().parent, private / f"{section}-{len(known)}")
                    known.append({"name": entry["name"], inner: settings})
    return document


def _settle(settings: dict[str, Any], base: Path, private: Path) -> None:
    """Put what is embedded into files of that name, and say paths from the root."""
    for key in _EMBEDDED:
        if data := settings.pop(f"{key}-data", None):
            file = private.with_name(f"{private.name}-{key}")
            file.touch(mode=0o600)
            file.write_bytes(base64.b64decode(data))
            settings[key] = str(file)
        elif settings.get(key):
            settings[key] = str(base / settings[key])
    if program := settings.get("exec"):
        # pykube knows v1beta1 only, whose answer has all that it reads of v1's.
        version = _BETA if program["apiVersion"] == _STABLE else program["apiVersion"]
        settings["exec"] = {**program, "apiVersion": version}
