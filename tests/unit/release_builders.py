"""Release Secrets as Helm writes them, and releases as refusals look at them."""

import base64
import copy
import gzip
import json
from collections.abc import Mapping
from typing import Any, Final

from connect_autoscaler.release.history import LABEL_ATTEMPT, Revision, decode
from connect_autoscaler.release.merge import merge
from connect_autoscaler.release.overlay import overlay
from connect_autoscaler.release.refusals import Subject
from connect_autoscaler.release.values import effective
from unit.builders import live_pool, profile

Json = dict[str, Any]

BASE: Final[Json] = {"sharedStorage": {"create": True, "mount": True}}
"""The least that a release needs for off-host execution."""
DEFAULTS: Final[Json] = {
    "backends": {"kubernetes": {"enabled": True}},
    "launcher": {"enabled": False},
    "image": {"tag": ""},
    "versionOverride": "",
    "sharedStorage": {"create": False, "mount": False},
    "config": {"Kubernetes": {}},
}
"""What of the chart's values decides."""


def release(
    config: Mapping[str, Any] | None = None,
    *,
    defaults: Mapping[str, Any] = DEFAULTS,
    number: int = 1,
    chart: str = "rstudio-connect",
    chart_version: str = "0.21.0",
    app_version: str = "2026.08.0",
    manifest: str = "",
    **more: Any,
) -> Json:
    """Return the JSON of a revision, in Helm 4's form; None removes a field."""
    whole: Json = {
        "name": "connect",
        "namespace": "posit",
        "version": number,
        "info": {
            "first_deployed": "2026-03-01T08:00:00.123456789Z",
            "last_deployed": "2026-03-02T09:30:00.987654321+02:00",
            "deleted": "",
            "description": "Upgrade complete",
            "status": "deployed",
            "notes": "Thank you.",
        },
        "chart": {
            "metadata": {
                "name": chart,
                "version": chart_version,
                "appVersion": app_version,
                "apiVersion": "v2",
                "dependencies": [{"name": "rstudio-library", "version": "0.1.36", "enabled": True}],
            },
            "lock": {"digest": "sha256:0"},
            "templates": [{"name": "templates/NOTES.txt", "data": base64.b64encode(b"Thank you.").decode()}],
            "values": dict(defaults),
            "schema": None,
            "files": [],
        },
        "config": dict(config or {}),
        "manifest": manifest,
        "apply_method": "ssa",
        **more,
    }
    return {key: value for key, value in whole.items() if value is not None}


def secret(raw: Json | bytes, *, packed: bool = True, status: str = "deployed", attempt: str | None = None) -> Json:
    """Return the release Secret as the API server gives it.

    Args:
        raw: The revision, or what stands in its place.
        packed: Whether Helm compressed it.
        status: Its label.
        attempt: Label of the operator's attempt.
    """
    text = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    number = 1 if isinstance(raw, bytes) else raw["version"]
    inner = base64.b64encode(gzip.compress(text) if packed else text)
    labels = {"owner": "helm", "name": "connect", "status": status, "version": str(number), "modifiedAt": "1772436600"}
    if attempt:
        labels[LABEL_ATTEMPT] = attempt
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {
            "name": f"sh.helm.release.v1.connect.v{number}",
            "namespace": "posit",
            "uid": f"uid-of-v{number}",
            "resourceVersion": str(100 + number),
            "labels": labels,
        },
        "data": {"release": base64.b64encode(inner).decode()},
    }


def revision(config: Mapping[str, Any] | None = None, **fields: Any) -> Revision:
    """Return a decoded revision; arguments are those of `release`."""
    return decode(secret(release(config, **fields)))


_PROFILE = profile()
SERVER_POOL: Final = live_pool(_PROFILE, "connect-server")
CONTENT_POOL: Final = live_pool(_PROFILE, "connect-content")
SELECTOR: Final = {"app.kubernetes.io/name": "rstudio-connect", "app.kubernetes.io/instance": "connect"}
OVERLAY: Final = overlay(_PROFILE, SERVER_POOL["spec"]["template"]["spec"].get("taints", ()), (), SELECTOR)
"""What the smallest profile wants."""


def subject(config: Mapping[str, Any] | None = None, **fields: Any) -> Subject:
    """Return what policies look at, of a release that has storage beside the config.

    Args:
        config: Values of the user, laid over the least that is needed.
        **fields: Arguments of `release`, and fields of `Subject`.
    """
    own: Json = {
        name: fields.pop(name)
        for name in ("deployment", "server_pools", "content_pools", "access_modes")
        if name in fields
    }
    found = revision({**BASE, **copy.deepcopy(dict(config or {}))}, **fields)
    usual: Json = {
        "revision": found,
        "values": effective(found.defaults, found.config),
        "merged": merge(found.config, found.defaults, {}, OVERLAY, {}),
        "deployment": {},
        "server_pools": [SERVER_POOL],
        "content_pools": [CONTENT_POOL],
        "access_modes": {},
    }
    return Subject(**(usual | own))
