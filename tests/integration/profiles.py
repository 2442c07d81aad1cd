"""What the API server says to profiles."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from pykube import HTTPClient

from profile_specs import SMALLEST, Spec, profile

API_VERSION = "connect-autoscaler.io/v1alpha1"
RESOURCE = "connectautoscalingprofiles"
DRY_RUN = {"dryRun": "All", "fieldValidation": "Strict"}


@dataclass(frozen=True)
class Verdict:
    """The answer of the API server to a profile.

    Attributes:
        complaints: Field and message of every cause of a refusal.
        spec: The spec as it would be stored; empty if it was refused.
    """

    complaints: tuple[str, ...]
    spec: Spec

    @property
    def accepted(self) -> bool:
        return not self.complaints

    @classmethod
    def of(cls, response: requests.Response) -> "Verdict":
        body = response.json()
        if response.ok:
            return cls((), body["spec"])
        # Anything but 422 (and 400 for what does not even decode) is a fault of the test.
        assert response.status_code in {requests.codes.unprocessable_entity, requests.codes.bad_request}, body
        causes = body.get("details", {}).get("causes") or [{"field": "", "message": body["message"]}]
        return cls(tuple(f"{cause.get('field', '')}: {cause['message']}" for cause in causes), {})


class Profiles:
    """The resource on an API server."""

    def __init__(self, api: HTTPClient) -> None:
        self.api = api

    def create(self, spec: Spec, name: str = "example") -> Verdict:
        """Try to create a profile; nothing is stored."""
        answer = self.api.post(version=API_VERSION, url=RESOURCE, params=DRY_RUN, json=profile(spec, name))
        return Verdict.of(answer)

    def update(self, old: Spec, new: Spec) -> Verdict:
        """Try to give an existing profile another spec; nothing is stored."""
        with self.existing(old) as stored:
            url = f"{RESOURCE}/{stored['metadata']['name']}"
            return Verdict.of(self.api.put(version=API_VERSION, url=url, params=DRY_RUN, json={**stored, "spec": new}))

    def report(self, status: dict[str, Any]) -> dict[str, Any]:
        """Write a status, and return it as it is stored.

        Raises:
            pykube.exceptions.HTTPError: If the API server refuses it.
        """
        with self.existing(SMALLEST, status) as stored:
            return dict(stored.get("status", {}))

    def columns(self, status: dict[str, Any]) -> dict[str, Any]:
        """Return what `kubectl get -o wide` prints of a profile with this status."""
        with self.existing(SMALLEST, status) as stored:
            answer = self.api.get(
                version=API_VERSION,
                url=f"{RESOURCE}/{stored['metadata']['name']}",
                headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
            )
            self.api.raise_for_status(answer)
            table = answer.json()
            names = [column["name"] for column in table["columnDefinitions"]]
            return dict(zip(names, table["rows"][0]["cells"], strict=True))

    @contextlib.contextmanager
    def existing(self, spec: Spec, status: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Keep a profile while the context lasts."""
        url = f"{RESOURCE}/p-{uuid.uuid4().hex[:12]}"
        answer = self.api.post(version=API_VERSION, url=RESOURCE, json=profile(spec, url.partition("/")[2]))
        self.api.raise_for_status(answer)
        try:
            if status is not None:
                body = {**answer.json(), "status": status}
                answer = self.api.put(
                    version=API_VERSION, url=f"{url}/status", params={"fieldValidation": "Strict"}, json=body
                )
                self.api.raise_for_status(answer)
            yield answer.json()
        finally:
            self.api.raise_for_status(self.api.delete(version=API_VERSION, url=url))
