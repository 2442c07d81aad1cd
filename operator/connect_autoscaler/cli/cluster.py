"""One API server, as the user's kubeconfig lets him in. Synchronous, on pykube-ng; raw JSON in and out."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from pykube import HTTPClient, KubeConfig

from connect_autoscaler import __version__
from connect_autoscaler.api.names import API_VERSION, KARPENTER_API_VERSION, KIND, PLURAL
from connect_autoscaler.cli.errors import ApiError, CliError, calling_programs, near, reading_kubeconfig, translated
from connect_autoscaler.cli.kubeconfig import merged
from connect_autoscaler.core import kubeconfig

Json = dict[str, Any]
FIELD_MANAGER: Final = "connect-autoscaler-cli"
"""Field manager of what the user does by this command line; the operator's own is ``connect-autoscaler``."""
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_TIMEOUT: Final = 30
_PAGE: Final = "500"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of the API."""

    version: str
    plural: str
    name: str


PROFILES: Final = Kind(API_VERSION, PLURAL, KIND)
NODE_POOLS: Final = Kind(KARPENTER_API_VERSION, "nodepools", "NodePool")
NODE_CLAIMS: Final = Kind(KARPENTER_API_VERSION, "nodeclaims", "NodeClaim")
NODES: Final = Kind("v1", "nodes", "Node")
PODS: Final = Kind("v1", "pods", "Pod")
SECRETS: Final = Kind("v1", "secrets", "Secret")
DEPLOYMENTS: Final = Kind("apps/v1", "deployments", "Deployment")
EVENTS: Final = Kind("events.k8s.io/v1", "events", "Event")
CRDS: Final = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition")
_NO_KIND: Final = Kind("", "", "")
_REVIEWS: Final = Kind("authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")


class Cluster:
    """Reads and writes as the user.

    Args:
        client: pykube's.
    """

    def __init__(self, client: HTTPClient) -> None:
        self._client = client
        self.server: str = client.url

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Json:
        """Read an object.

        Raises:
            ApiError: It cannot be read.
        """
        return self._ask("GET", f"read {kind.name} {name}", kind, name, namespace)

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> Json | None:
        """Read an object; None: it does not exist, or its kind does not."""
        try:
            return self.get(kind, name, namespace)
        except ApiError as error:
            if error.code == requests.codes.not_found:
                return None
            raise

    def list(self, kind: Kind, namespace: str | None = None, *, metadata: bool = False, **query: str) -> list[Json]:
        """Read all objects, page by page.

        Args:
            kind: Which.
            namespace: Where; None: everywhere.
            metadata: Their metadata alone.
            query: Selectors.
        """
        found: list[Json] = []
        headers = {"Accept": _METADATA} if metadata else {}
        query = {"limit": _PAGE, **query}
        while True:
            page = self._ask("GET", f"list {kind.name}s", kind, "", namespace, query, headers=headers)
            found += [{"apiVersion": kind.version, "kind": kind.name, **each} for each in page.get("items") or ()]
            if not (rest := page["metadata"].get("continue")):
                return found
            query["continue"] = rest

    def merge(self, kind: Kind, name: str, patch: Mapping[str, Any]) -> Json:
        """Change an object by a JSON merge patch."""
        return self._write("PATCH", f"change {kind.name} {name}", kind, name, patch, "application/merge-patch+json")

    def patch(self, kind: Kind, name: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Change an object by a JSON patch, whose ``test`` operations guard it."""
        what = f"change {kind.name} {name}"
        return self._write("PATCH", what, kind, name, list(operations), "application/json-patch+json")

    def delete(self, kind: Kind, name: str, uid: str) -> None:
        """Ask for the deletion of this very object."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        self._ask("DELETE", f"delete {kind.name} {name}", kind, name, body=body)

    def rehearse(self, kind: Kind, body: Json) -> Json:
        """Create or replace an object without effect; gives it with the API server's defaults.

        Raises:
            ApiError: It is refused; `causes` say why.
        """
        name = body["metadata"]["name"]
        new = "resourceVersion" not in body["metadata"]
        query = {"dryRun": "All", "fieldValidation": "Strict", "fieldManager": FIELD_MANAGER}
        what = f"{'create' if new else 'change'} {kind.name} {name}"
        return self._ask("POST" if new else "PUT", what, kind, "" if new else name, None, query, body=body)

    def may(
        self, verb: str, group: str, resource: str, namespace: str = "", name: str = "", user: str | None = None
    ) -> bool | None:
        """Ask whether the user, or another that he may impersonate, has a right; None: he may not impersonate.

        Args:
            verb: Such as ``patch``.
            group: API group.
            resource: Plural, with its subresource after a slash.
            namespace: Empty: everywhere.
            name: Of the object; empty: all.
            user: Whose right, instead of the caller's.
        """
        plural, _, subresource = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
        attributes |= {key: value for key, value in (("namespace", namespace), ("name", name)) if value}
        spec = {"resourceAttributes": attributes}
        body = {"apiVersion": _REVIEWS.version, "kind": _REVIEWS.name, "spec": spec}
        headers = {"Impersonate-User": user} if user else {}
        try:
            answer = self._ask("POST", "ask for your rights", _REVIEWS, body=body, headers=headers)
        except ApiError as error:
            if user and error.code == requests.codes.forbidden:
                return None
            raise
        return bool(answer["status"]["allowed"])

    def groups(self) -> Sequence[Json]:
        """API groups that the cluster knows."""
        found: Sequence[Json] = self._ask("GET", "list API groups", _NO_KIND, raw="/apis")["groups"]
        return found

    def resources(self, version: str) -> Sequence[Json]:
        """Resources of an API version, without subresources."""
        found = self._ask("GET", f"list resources of {version}", _NO_KIND, raw=f"/apis/{version}")
        return [each for each in found["resources"] if "/" not in each["name"]]

    def knows(self, kind: Kind) -> bool:
        """Whether the cluster has a kind."""
        group = kind.version.partition("/")[0]
        if all(each["name"] != group for each in self.groups()):
            return False
        return any(each["name"] == kind.plural for each in self.resources(kind.version))

    def version(self) -> str:
        """Version of the API server, such as ``v1.36.3``."""
        return str(self._ask("GET", "read the cluster's version", _NO_KIND, raw="/version")["gitVersion"])

    def log(self, namespace: str, pod: str, lines: int, *, previous: bool = False) -> str:
        """Read the last lines of a pod's log."""
        query = {"tailLines": str(lines), "previous": str(previous).lower(), "timestamps": "true"}
        response = self._send("GET", PODS, f"{pod}/log", namespace, query)
        self._check(f"read the log of Pod {pod}", response)
        return response.text

    def _write(self, method: str, what: str, kind: Kind, name: str, body: Any, content_type: str) -> Json:
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return self._ask(method, what, kind, name, None, query, body=body, headers={"Content-Type": content_type})

    def _ask(
        self,
        method: str,
        what: str,
        kind: Kind,
        name: str = "",
        namespace: str | None = None,
        query: Mapping[str, str] | None = None,
        *,
        body: Any | None = None,
        headers: Mapping[str, str] | None = None,
        raw: str = "",
    ) -> Json:
        response = self._send(method, kind, name, namespace, query, body=body, headers=headers, raw=raw)
        self._check(what, response)
        with translated(self.server):
            answer: Json = response.json()
        return answer

    def _send(
        self,
        method: str,
        kind: Kind,
        name: str,
        namespace: str | None,
        query: Mapping[str, str] | None = None,
        *,
        body: Any | None = None,
        headers: Mapping[str, str] | None = None,
        raw: str = "",
    ) -> requests.Response:
        path = {"version": kind.version, "url": f"{kind.plural}/{name}".rstrip("/"), "namespace": namespace}
        if raw:
            base, _, url = raw.lstrip("/").rpartition("/")
            path = {"version": "", "base": f"/{base}", "url": url, "namespace": None}
        with translated(self.server), calling_programs():
            response: requests.Response = self._client.request(
                method, **path, params=query, json=body, headers=dict(headers or {})
            )
        if used := response.request.headers.get("Authorization"):
            self._client.session.headers["Authorization"] = used  # else a credential program would run at every request
        return response

    def _check(self, what: str, response: requests.Response) -> None:
        if response.ok:
            return
        try:
            body = response.json()
        except ValueError:
            body = {}
        raise ApiError(what, response.status_code, body if isinstance(body, dict) else {}, response.text)


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster the user means."""

    kubeconfig: str | None
    context: str | None

    @contextmanager
    def open(self) -> Iterator[Cluster]:
        """Connect while the context lasts.

        Raises:
            CliError: There is no kubeconfig, or it cannot be used.
        """
        with tempfile.TemporaryDirectory(prefix="connect-autoscaler-") as private:
            with reading_kubeconfig():
                client = HTTPClient(self._config(Path(private)), timeout=_TIMEOUT)
            client.session.headers["User-Agent"] = f"{FIELD_MANAGER}/{__version__}"
            if proxy := client.config.cluster.get("proxy-url"):
                client.session.proxies = {"http": proxy, "https": proxy}
            try:
                yield Cluster(client)
            finally:
                client.session.close()

    @property
    def files(self) -> str | None:
        """The kubeconfig files that count, separated as in $KUBECONFIG; None: a pod's ServiceAccount does."""
        return kubeconfig.files(self.kubeconfig)

    @property
    def chosen(self) -> str | None:
        """The context that counts; None: there is none, or a pod's ServiceAccount counts."""
        return self.context or kubeconfig.current_context(self.files)

    def _config(self, private: Path) -> KubeConfig:
        if self.files is None:
            return KubeConfig.from_service_account()
        if not (paths := kubeconfig.existing(self.files)):
            raise CliError(f"There is no kubeconfig at {self.files}; name one with --kubeconfig or $KUBECONFIG")
        document = merged(paths, private)
        contexts = [each["name"] for each in document["contexts"]]
        current = self.chosen
        if not current:
            raise CliError(f"The kubeconfig has no current context; choose one with --context: {', '.join(contexts)}")
        if current not in contexts:
            raise CliError(f"The kubeconfig has no context {current}; {near(current, contexts)}")
        return KubeConfig(document, current)
