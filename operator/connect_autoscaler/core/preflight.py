"""Who would be in the way of an upgrade: a server-side apply as Helm would make it, without effect.

Helm's own dry run does not see conflicts of field managers (measured with Helm 4.3); the API server's does. What it
gives back is what admission would leave of it.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.release.helm_errors import HelmError
from connect_autoscaler.release.manifest import ObjectKey, Objects, Server, shown_by
from connect_autoscaler.release.merge import differences

_PATHS: Final = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments/{}",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps/{}",
}
"""The kinds that the overlay changes."""


async def preflight(kube: Kube, after: Objects, server: Server, expected: Mapping[str, Any], user: str | None) -> None:
    """Try to apply what would change.

    Args:
        kube: The connection.
        after: Rendered objects that change.
        server: Those that carry the overlay.
        expected: What they are to show.
        user: Whom to impersonate.

    Raises:
        HelmError: CONFLICT: somebody else owns a field. MUTATED_BY_ADMISSION: it would not stay as applied.
        KubeError: The API server refuses.
    """
    given: dict[ObjectKey, dict[str, Any]] = {}
    for key, body in after.items():
        if key.kind not in _PATHS:
            continue
        try:
            given[key] = await kube.rehearse(_PATHS[key.kind].format(key.namespace, key.name), body, "helm", user)
        except KubeError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            raise HelmError(
                Reason.CONFLICT,
                f"{key}: {_essence(error.message)}. Have the other writer leave these fields, or set onConflict: Force",
            ) from None
    if server.deployment in given and (server.config is None or server.config in given):
        lost = differences(shown_by(given, server), dict(expected))
        if lost:
            raise HelmError(
                Reason.MUTATED_BY_ADMISSION,
                f"An admission policy or webhook would change {', '.join(change.pointer for change in lost)} of what "
                "Helm applies; exempt the Connect Deployment from it",
            )


def _essence(message: str) -> str:
    """The API server's list of managers and fields, without the request before it."""
    return message.partition(": ")[2].replace("\n", " ").strip() or message
