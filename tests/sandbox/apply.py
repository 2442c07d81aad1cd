"""Server-side apply of any kind, found by discovery, as strict as the server can be."""

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import requests
import yaml
from pykube import HTTPClient

from sandbox.errors import SandboxError
from sandbox.wait import poll

Manifest = Path | str | dict[str, Any]

FIELD_MANAGER = "sandbox"
# libyaml's reads large CRDs seven times faster; it comes with PyYAML's wheels.
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A new CRD is Established in under a second; until its storage is ready, requests get 429.
_ESTABLISH_LIMIT = 30.0


def documents(*manifests: Manifest) -> Iterator[dict[str, Any]]:
    """Yield the objects of dicts, of YAML text, of YAML files and of directories of them; lists are taken apart."""
    for manifest in manifests:
        if isinstance(manifest, dict):
            found: Iterable[Any] = [manifest]
        elif isinstance(manifest, str):
            found = yaml.load_all(manifest, Loader=_LOADER)
        elif manifest.is_dir():
            found = documents(*sorted(manifest.glob("*.yaml")))
        else:
            found = yaml.load_all(manifest.read_text(), Loader=_LOADER)
        for document in found:
            if document and document["kind"] == "List":
                yield from documents(*document["items"])
            elif document:
                yield document


def apply(api: HTTPClient, *manifests: Manifest, field_manager: str = FIELD_MANAGER) -> list[dict[str, Any]]:
    """Apply objects one after the other and return them as the server stored them.

    Custom resource definitions are waited for until they are Established and their storage answers. Conflicts are
    forced. An object of a namespaced kind without a namespace goes to `default`.

    Raises:
        SandboxError: If the server does not know the kind, or refuses the object, unknown fields included.
    """
    applied: list[dict[str, Any]] = []
    definitions: list[dict[str, Any]] = []
    for document in documents(*manifests):
        if document["kind"] != "CustomResourceDefinition":
            _await_storage(api, definitions)
        applied.append(_apply(api, document, field_manager))
        if document["kind"] == "CustomResourceDefinition":
            definitions.append(applied[-1])
    _await_storage(api, definitions)
    return applied


def _apply(api: HTTPClient, document: dict[str, Any], field_manager: str) -> dict[str, Any]:
    version, kind, metadata = document["apiVersion"], document["kind"], document["metadata"]
    resource = _resource(api, version, kind)
    response = api.patch(
        version=version,
        url=f"{resource['name']}/{metadata['name']}",
        namespace=metadata.get("namespace", "default") if resource["namespaced"] else None,
        params={"fieldManager": field_manager, "fieldValidation": "Strict", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        data=json.dumps(document),
    )
    return _result(response, f"cannot apply {kind} {metadata['name']}")


def _resource(api: HTTPClient, version: str, kind: str) -> dict[str, Any]:
    # Not pykube's resource_list: it remembers for ever what a group had before its CRDs came.
    response = api.get(version=version)
    if response.status_code != requests.codes.not_found:
        for resource in _result(response, f"cannot discover {version}")["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                return dict(resource)
    raise SandboxError(f"the API server knows no {kind} in {version}: is its custom resource definition applied?")


def _await_storage(api: HTTPClient, definitions: list[dict[str, Any]]) -> None:
    while definitions:
        definition = definitions.pop(0)
        name = definition["metadata"]["name"]
        if not poll(partial(_is_served, api, definition), timeout=_ESTABLISH_LIMIT):
            stored = api.get(version="apiextensions.k8s.io/v1", url=f"customresourcedefinitions/{name}").json()
            conditions = [each for each in stored.get("status", {}).get("conditions", ()) if each["status"] != "True"]
            raise SandboxError(f"CustomResourceDefinition {name} is not served: {conditions}")


def _is_served(api: HTTPClient, definition: dict[str, Any]) -> bool:
    # Established alone is not enough: discovery and storage follow a moment later.
    spec = definition["spec"]
    version = f"{spec['group']}/{next(each['name'] for each in spec['versions'] if each['served'])}"
    plural = spec["names"]["plural"]
    found = api.get(version=version)
    names = [each["name"] for each in found.json()["resources"]] if found.ok else []
    return plural in names and api.get(version=version, url=plural, params={"limit": 1}).ok


def _result(response: requests.Response, what: str) -> dict[str, Any]:
    if not response.ok:
        raise SandboxError(f"{what}: {response.status_code} {_message(response)}")
    return dict(response.json())


def _message(response: requests.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:500]
