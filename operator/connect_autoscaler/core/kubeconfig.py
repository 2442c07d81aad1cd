"""Which kubeconfig counts, and which of its contexts: as kubectl has it, and so helm.

The ``kubernetes`` package takes the current context of the last of several files, kubectl that of the first: an
operator that left it at that would read one cluster, and upgrade in another.
"""

import os
from pathlib import Path
from typing import Final

import yaml

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def in_cluster() -> bool:
    """Whether this is a pod with a ServiceAccount, by the signs that client-go goes by."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists()


def own_namespace() -> str | None:
    """The namespace of the pod that this is; None: it is none."""
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except OSError:
        return None


def files(named: str | None) -> str | None:
    """The kubeconfig files that count, separated as in $KUBECONFIG; None: the pod's ServiceAccount does.

    Args:
        named: Those that the user names.
    """
    if named is None and in_cluster():
        return None
    paths = named or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return os.pathsep.join(str(Path(each).expanduser()) for each in paths.split(os.pathsep) if each)


def existing(paths: str | None) -> list[Path]:
    """Those of the files that are there."""
    return [path for path in map(Path, (paths or "").split(os.pathsep)) if path.is_file()]


def current_context(paths: str | None) -> str | None:
    """The context where none is named: that of the first file which has one; None: there is none."""
    documents = (yaml.safe_load(path.read_text()) for path in existing(paths))
    found = (each.get("current-context") for each in documents if isinstance(each, dict))
    return next((each for each in found if each), None)
