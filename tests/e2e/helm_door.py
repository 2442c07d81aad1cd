"""Stands before the real helm: counts its calls, and holds them up where a test wants to do something first."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from harness import Release
from sandbox import Cluster, eventually

Moment = Literal["before-render", "before-upgrade", "after-upgrade", "before-rollback", "before-version"]

# $$ stays helm's process id, since exec keeps it; so does the signal that ends it with the operator.
_SCRIPT: Final = """#!/bin/sh
dir='{directory}' kind=$1 namespace=none
for each; do
  case $each in --namespace=*) namespace=${{each#*=}} ;; --dry-run=*) kind=render ;; esac
done
echo "$$ $kind $namespace" >> "$dir/calls"
env >> "$dir/environment"
hold() {{
  [ -e "$dir/$1" ] || return 0
  : > "$dir/$1.here"
  while [ -e "$dir/$1" ]; do sleep 0.05; done
}}
hold "before-$kind.$namespace"
[ -e "$dir/after-$kind.$namespace" ] || exec '{helm}' "$@"
'{helm}' "$@"
code=$?
hold "after-$kind.$namespace"
exit $code
"""


@dataclass(frozen=True)
class Call:
    """One start of helm by the operator; a dry run counts as `render`."""

    pid: int
    kind: str
    namespace: str

    @property
    def running(self) -> bool:
        """Tell whether it is at work; one that nobody has reaped yet is not."""
        try:
            return "helm" in Path(f"/proc/{self.pid}/cmdline").read_text()
        except OSError:
            return False


class HelmDoor:
    """A program to be the operator's `--helm`.

    Attributes:
        path: Of the program.
        environment: Where every call leaves its variables.
    """

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._directory = directory
        self.path = directory / "helm"
        self.environment = directory / "environment"
        self.path.write_text(_SCRIPT.format(directory=directory, helm=cluster.binary("helm")))
        self.path.chmod(0o755)

    def calls(self, release: Release | None = None) -> list[Call]:
        """Return the calls so far, of one release or of all; `version` and `pull` belong to none."""
        log = self._directory / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        found = [Call(int(pid), kind, namespace) for pid, kind, namespace in map(str.split, lines)]
        return [call for call in found if release is None or call.namespace == release.namespace]

    @contextlib.asynccontextmanager
    async def hold(self, moment: Moment, release: Release) -> AsyncIterator["Held"]:
        """Hold up calls of a release at a moment while the context lasts."""
        file = self._directory / f"{moment}.{release.namespace}"
        here = file.with_name(file.name + ".here")
        here.unlink(missing_ok=True)
        file.touch()
        try:
            yield Held(file, here)
        finally:
            file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Held:
    """A moment at which calls wait."""

    file: Path
    here: Path

    async def reached(self, *, seconds: float = 60) -> None:
        """Wait until a call waits."""
        await eventually(self.here.exists, timeout=seconds, interval=0.02)

    def let_go(self) -> None:
        """Let the call go on, and all later ones."""
        self.file.unlink(missing_ok=True)


@contextlib.contextmanager
def no_scheduling(cluster: Cluster) -> Iterator[None]:
    """Have no pod find a node while the context lasts: every rollout waits."""
    scheduler = cluster.pid("kube-scheduler")
    os.kill(scheduler, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(scheduler, signal.SIGCONT)
