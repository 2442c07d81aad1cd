"""Whether the process that began an upgrade is gone for certain: only then its lock may be undone."""

import os
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

from connect_autoscaler.api.fields import parse_duration
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.release.state import Holder, Record

_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


async def gone(kube: Kube, record: Record, me: Holder, now: datetime, profile: Profile) -> bool:
    """Tell.

    A process of the same pod or host is looked up by its number; another pod by its uid; what can be neither is given
    twice the time that the upgrade may take. Helm itself ends with the process that began it.

    Args:
        kube: The connection.
        record: The upgrade.
        me: This process.
        now: Time of the pass.
        profile: Whose release it is; its timeout counts.
    """
    holder = record.holder
    if holder.born == me.born:
        return True  # no work of ours is under way, or nobody would ask
    if holder.pod and me.pod and holder.pod == me.pod:
        return True  # the container was started again: nothing of its former life is left
    if holder.pod is None and me.pod is None and holder.host == me.host:
        return not _alive(holder.process)
    if holder.pod and (found := await _pod_gone(kube, holder)) is not None:
        return found
    release = profile.spec.release
    limit = parse_duration(release.timeout) if release else None
    return limit is not None and now - datetime.fromisoformat(record.started) > 2 * limit


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _pod_gone(kube: Kube, holder: Holder) -> bool | None:
    """Whether a pod of the operator's own namespace is gone; None: it cannot be seen."""
    try:
        pod = await kube.get(f"/api/v1/namespaces/{_NAMESPACE.read_text().strip()}/pods/{holder.host}")
    except OSError:
        return None
    except KubeError as error:
        return True if error.status == HTTPStatus.NOT_FOUND else None
    over = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
    return over or pod["metadata"]["uid"] != holder.pod
