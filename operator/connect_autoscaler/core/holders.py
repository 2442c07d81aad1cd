"""Whether the process that began an upgrade is gone for certain: only then its lock may be undone."""

import os
import sys
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.kubeconfig import own_namespace
from connect_autoscaler.core.release_tools import Toolbox
from connect_autoscaler.release.helm import longest
from connect_autoscaler.release.state import Holder, Record

_SLACK: Final = timedelta(minutes=2)
"""For clocks that differ, and for the end of helm after its time."""


async def gone(kube: Kube, record: Record, tools: Toolbox, now: datetime, profile: Profile) -> bool:
    """Tell.

    This very process knows what it is at. A former process of the same pod or host is looked up by its number, another
    pod by its uid: on Linux the kernel ends helm together with the process that began it. No process outlives the Lease
    that it held, so whoever holds it now knows that all others are gone. What can be neither, or looks
    alive, is given all the time that helm itself is given, since after that it is ended.

    Args:
        kube: The connection.
        record: The upgrade.
        tools: Names this process, and what it is at.
        now: Time of the pass.
        profile: Whose release it is; its timeout counts if the upgrade's own is not on record.
    """
    holder, me = record.holder, tools.holder
    if holder.born == me.born:
        return record.id not in tools.living
    if holder.pod and me.pod and holder.pod == me.pod:
        return True  # the container was started again: nothing of its former life is left
    if holder.pod is None and me.pod is None and holder.host == me.host:
        if sys.platform == "linux" and not _alive(holder.process):
            return True
    elif tools.elected or (holder.pod and await _pod_gone(kube, holder)):
        return True
    release = profile.spec.release
    timeout = record.timeout or (release.timeout if release else "")
    limit = timedelta(seconds=longest(timeout)) + _SLACK if timeout else None
    return limit is not None and now - datetime.fromisoformat(record.started) > limit


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _pod_gone(kube: Kube, holder: Holder) -> bool:
    """Whether a pod of the operator's own namespace is known to be gone."""
    if (namespace := own_namespace()) is None:
        return False
    try:
        pod = await kube.get(f"/api/v1/namespaces/{namespace}/pods/{holder.host}")
    except KubeError as error:
        return error.status == HTTPStatus.NOT_FOUND
    over = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
    return over or pod["metadata"]["uid"] != holder.pod
