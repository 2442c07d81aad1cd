"""Objects on a cluster as a test or a colleague touches them: raw JSON, by kind and name, as a named field manager."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import requests
from pykube import HTTPClient

Json = dict[str, Any]
Propagation = Literal["Background", "Foreground", "Orphan"]

COLLEAGUE: Final = "kubectl-edit"
"""The field manager of `kubectl edit`: the usual culprit."""


@dataclass(frozen=True)
class Kind:
    """A kind of the API: `version` as in `apiVersion`, the plural as in URLs, a namespace if it has them."""

    version: str
    plural: str
    namespace: str | None = None


PROFILES: Final = Kind("connect-autoscaler.io/v1alpha1", "connectautoscalingprofiles")
NODE_POOLS: Final = Kind("karpenter.sh/v1", "nodepools")
NODE_CLAIMS: Final = Kind("karpenter.sh/v1", "nodeclaims")
NODE_CLASSES: Final = Kind("karpenter.kwok.sh/v1alpha1", "kwoknodeclasses")
NODES: Final = Kind("v1", "nodes")
PODS: Final = Kind("v1", "pods", "default")
EVENTS: Final = Kind("events.k8s.io/v1", "events", "default")


def unique(prefix: str = "t") -> str:
    """Return a name that no other test has: the cluster is shared, and NodePools have no namespace."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class Api:
    """Reads and writes as one user; every refusal raises `pykube.exceptions.HTTPError`, which has a `code`.

    Writes are strict: a field that the API server does not know is refused.
    """

    def __init__(self, client: HTTPClient) -> None:
        self._client = client

    def get(self, kind: Kind, name: str) -> Json:
        """Read an object."""
        return self._json(self._client.get(**_at(kind, name)))

    def find(self, kind: Kind, name: str) -> Json | None:
        """Read an object; None if it does not exist."""
        answer = self._client.get(**_at(kind, name))
        return None if answer.status_code == requests.codes.not_found else self._json(answer)

    def list(self, kind: Kind, **query: str) -> list[Json]:
        """Read all objects, or those that a query chooses, such as `labelSelector="karpenter.sh/nodepool=x"`."""
        return list(self._json(self._client.get(**_at(kind), params=query))["items"])

    def create(self, kind: Kind, body: Mapping[str, Any], *, manager: str = COLLEAGUE) -> Json:
        """Create an object; `apiVersion` is filled in."""
        query = {"fieldManager": manager, "fieldValidation": "Strict"}
        return self._json(self._client.post(**_at(kind), params=query, json={"apiVersion": kind.version, **body}))

    def replace(self, kind: Kind, body: Mapping[str, Any], *, manager: str = COLLEAGUE) -> Json:
        """Update: what `kubectl replace` and most controllers send."""
        query = {"fieldManager": manager, "fieldValidation": "Strict"}
        full = {"apiVersion": kind.version, **body}
        return self._json(self._client.put(**_at(kind, body["metadata"]["name"]), params=query, json=full))

    def merge(
        self, kind: Kind, name: str, patch: Mapping[str, Any], *, manager: str = COLLEAGUE, subresource: str = ""
    ) -> Json:
        """JSON merge patch: what `kubectl edit` and `kubectl patch --type=merge` send."""
        return self._patch(kind, name, patch, "application/merge-patch+json", manager, subresource)

    def json_patch(
        self,
        kind: Kind,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        manager: str = COLLEAGUE,
        subresource: str = "",
    ) -> Json:
        """JSON patch: `[{"op": "remove", "path": "/spec/limits"}]`."""
        return self._patch(kind, name, operations, "application/json-patch+json", manager, subresource)

    def apply(
        self,
        kind: Kind,
        name: str,
        body: Mapping[str, Any],
        *,
        manager: str = COLLEAGUE,
        force: bool = False,
        subresource: str = "",
    ) -> Json:
        """Server-side apply of the fields of `body`; `apiVersion` is filled in, `kind` is not."""
        full = {"apiVersion": kind.version, **body}
        return self._patch(kind, name, full, "application/apply-patch+yaml", manager, subresource, force=force)

    def delete(self, kind: Kind, name: str, *, propagation: Propagation = "Background") -> None:
        """Ask for a deletion; an object that is gone already is no error."""
        answer = self._client.delete(**_at(kind, name), json={"propagationPolicy": propagation})
        if answer.status_code != requests.codes.not_found:
            self._json(answer)

    def _patch(
        self, kind: Kind, name: str, body: Any, content_type: str, manager: str, subresource: str, **query: bool
    ) -> Json:
        answer = self._client.patch(
            **_at(kind, name, subresource),
            params={
                "fieldManager": manager,
                "fieldValidation": "Strict",
                **{key: str(value).lower() for key, value in query.items()},
            },
            headers={"Content-Type": content_type},
            data=json.dumps(body),
        )
        return self._json(answer)

    def _json(self, answer: requests.Response) -> Json:
        self._client.raise_for_status(answer)
        return dict(answer.json())


def _at(kind: Kind, *path: str) -> dict[str, Any]:
    url = "/".join(part for part in (kind.plural, *path) if part)
    return {"version": kind.version, "url": url, "namespace": kind.namespace}
