"""Who writes the release: read from the marks that tools leave on the Connect Deployment. Pure.

Sources: Flux helm-controller labels every object of a HelmRelease; Argo CD annotates what it tracks
(``argocd.argoproj.io/tracking-id``, ``<application>:<group>/<kind>:<namespace>/<name>``) and keeps no release Secrets.
The label ``app.kubernetes.io/instance`` is the chart's own and proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from connect_autoscaler.api.conditions import Problem, Reason
from connect_autoscaler.api.spec import ReleaseManager

_FLUX: Final = "helm.toolkit.fluxcd.io"
_ARGO: Final = "argocd.argoproj.io/tracking-id"
_HELM: Final = "meta.helm.sh/release-name"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes the release, and by which object."""

    manager: ReleaseManager
    namespace: str = ""
    """Of the HelmRelease or Application, as far as known."""
    name: str = ""


def owner(
    asked: ReleaseManager, namespace: str, name: str, deployment: Mapping[str, Any] | None, *, secrets: bool
) -> Owner | Problem:
    """Tell.

    Args:
        asked: ``spec.release.manager``.
        namespace: Of the release.
        name: Of the release.
        deployment: The live Deployment of the servers; None: there is none.
        secrets: Whether Helm keeps Secrets of the release.

    Returns:
        A problem if nothing or too much is known.
    """
    meta = deployment["metadata"] if deployment else {}
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    flux = Owner(ReleaseManager.FLUX, labels.get(f"{_FLUX}/namespace", namespace), labels.get(f"{_FLUX}/name", name))
    by_flux, tracked = f"{_FLUX}/name" in labels, annotations.get(_ARGO, "")
    application = tracked.partition(":")[0]
    argo_namespace, _, argo_name = application.rpartition("_")
    argo = Owner(ReleaseManager.ARGO_CD, argo_namespace, argo_name or name)
    match asked:
        case ReleaseManager.FLUX:
            return flux
        case ReleaseManager.ARGO_CD:
            return argo
        case ReleaseManager.HELM | ReleaseManager.EXPORT:
            return Owner(asked)
    if by_flux and tracked:
        return Problem(
            Reason.OWNER_AMBIGUOUS,
            f"Deployment {meta['name']} carries marks of Flux and of Argo CD; set spec.release.manager",
        )
    if by_flux:
        return flux
    if tracked and not secrets:
        return argo
    if secrets:
        return Owner(ReleaseManager.HELM)
    if _HELM in annotations:
        return Problem(
            Reason.UNSUPPORTED_STORAGE,
            f"Deployment {meta['name']} belongs to Helm release {annotations[_HELM]}, of which there is no Secret in "
            f"namespace {namespace}: Helm keeps it elsewhere (HELM_DRIVER), where it cannot be read",
            stalled=False,
        )
    if deployment is not None:
        return Owner(ReleaseManager.EXPORT)
    return Problem(
        Reason.RELEASE_NOT_FOUND,
        f"There is no Helm release {name} in namespace {namespace}; install it, or correct spec.release",
        stalled=False,
    )
