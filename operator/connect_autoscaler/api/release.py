"""The Helm release of Connect as a profile names it. The rules and their messages are those of the CRD."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from connect_autoscaler.api.fields import (
    ZERO,
    DnsLabel,
    DnsName,
    Duration,
    Model,
    OciReference,
    RelativePath,
    ReleaseName,
    RepositoryUrl,
    require,
    within,
)


class ReleaseManager(StrEnum):
    """Who writes the release."""

    AUTO = "Auto"
    HELM = "Helm"
    FLUX = "Flux"
    ARGO_CD = "ArgoCD"
    EXPORT = "Export"


class OnConflict(StrEnum):
    """What happens if somebody else owns a field that an upgrade writes."""

    FAIL = "Fail"
    FORCE = "Force"


def _inside(path: str) -> str:
    require(".." not in path.split("/"), "must stay below the operator's --chart-dir: .. is not allowed")
    return path


class Chart(Model):
    """Where the chart comes from; with no source at all, the operator's default one."""

    repository: RepositoryUrl | None = None
    oci: OciReference | None = None
    path: Annotated[RelativePath, AfterValidator(_inside)] | None = None
    secret_name: DnsName | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        sources = [source for source in (self.repository, self.oci, self.path) if source]
        require(len(sources) <= 1, "must have at most one of repository, oci and path")
        require(not (self.path and self.secret_name), "secretName must only be given with repository or oci")
        return self


class Release(Model):
    """The Helm release that gets the overlay."""

    namespace: DnsLabel
    name: ReleaseName
    manager: ReleaseManager = ReleaseManager.AUTO
    chart: Chart | None = None
    service_account_name: DnsName | None = None
    timeout: Annotated[
        Duration,
        within("must be a duration longer than zero and at most 6h, such as 15m", above=ZERO, most=timedelta(hours=6)),
    ] = "15m"
    on_conflict: OnConflict = OnConflict.FAIL
