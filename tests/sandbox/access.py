"""How clients get in: kubeconfig files and a synchronous client."""

import json
from pathlib import Path
from typing import Any

from pykube import HTTPClient, KubeConfig


def write_kubeconfig(path: Path, server: str, ca: Path, user: dict[str, Any]) -> Path:
    """Write a kubeconfig with one context; it is JSON, which is YAML, and readable by the owner alone.

    Certificates are named by file, not embedded: pykube would copy embedded ones, keys too, into the shared temporary
    directory.
    """
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": {"server": server, "certificate-authority": str(ca)}}],
        "users": [{"name": "sandbox", "user": user}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
        "current-context": "sandbox",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def client(kubeconfig: Path) -> HTTPClient:
    """Return pykube's synchronous client; close its `session` when it is no longer needed.

    The keywords of its methods are pykube's (`version`: `v1`, `apps/v1` or a path from the root; `namespace`; `url`:
    `pods/name`) and those of `requests`. Answers are returned whatever their status: see `raise_for_status`.
    """
    api = HTTPClient(KubeConfig.from_file(str(kubeconfig)), timeout=30)
    api.session.trust_env = False  # the server is on loopback with its own CA: no proxies, no certificate bundles
    return api
