"""Where Connect says that a job runs: the only link from its API to a Kubernetes Job. Pure."""

import base64
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

KUBERNETES: Final = "Kubernetes"
"""Cluster of jobs that run off the host."""
_JOB_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a job runs."""

    cluster: str
    name: str
    """Of the Kubernetes Job, if the cluster is Kubernetes."""


def decode(remote_id: str | None) -> Remote | None:
    """Read where a job runs: base64 of ``<cluster>:<job name>``; None if it is not that.

    The form is known by Posit's one example, so anything that differs from it is not understood.
    """
    if not remote_id:
        return None
    with suppress(ValueError):
        text = base64.b64decode(remote_id + "=" * (-len(remote_id) % 4), validate=True).decode()
        cluster, _, name = text.partition(":")
        if cluster and _JOB_NAME.fullmatch(name):
            return Remote(cluster, name)
    return None
