"""The only place that runs the helm 4 binary.

Values go to helm on standard input, as JSON and complete (``--reset-values``): not by an argument, a file or the
environment, where others could read them. What helm answers holds them too, and is dropped except for the manifest of
a dry run. That a call succeeded or failed is only what helm says: the release's Secrets tell what has become of it.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import durationpy

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release import child
from connect_autoscaler.release.helm_errors import HelmError, classify, classify_pull
from connect_autoscaler.release.history import LABEL_ATTEMPT
from connect_autoscaler.release.observed import Observer, observed

__all__ = ["Access", "Helm", "HelmError", "Target", "classify", "longest"]

_MANIFEST_LIMIT: Final = 64 * 2**20
"""Bytes of a dry run's answer: chart, values and manifest; a release Secret has at most 1 MiB, compressed."""
_PULL_LIMIT: Final = 64 * 2**10
_QUICK: Final = 15.0
_UNWAITING: Final = 180.0
"""Seconds for calls that wait for nothing but servers: dry runs and downloads."""
_OVERHEAD: Final = 180.0
_INHERITED: Final = ("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_INHERITED_TOO: Final = ("http_proxy", "https_proxy", "no_proxy")
_IN_CLUSTER: Final = "KUBERNETES_SERVICE_"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A release.

    Attributes:
        namespace: Where its Secrets are.
        name: Its name.
    """

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Access:
    """How helm gets to the API server.

    Attributes:
        kubeconfig: A file, or several as in the variable KUBECONFIG; None: the pod's ServiceAccount.
        context: A context of the kubeconfig; None: its current one.
        user: Whom to impersonate, such as ``system:serviceaccount:posit:helm``; None: nobody.
    """

    kubeconfig: str | None = None
    context: str | None = None
    user: str | None = None


class Helm:
    """Calls of helm, with failures as `HelmError`.

    A call that is cancelled ends helm by SIGTERM, which makes an upgrade roll back at once, and waits for that up to
    the grace; only then helm is killed, which leaves the release locked. `rollback` knows no such end: it is left alone
    for the grace.

    Args:
        binary: A path, or a name to be found on the PATH.
        home: A private directory that helm may write to: caches of indexes and charts, never anything of a release.
        grace: Seconds that a cancelled call has to end in good order.

    Attributes:
        observe: Told of each call.
    """

    def __init__(self, binary: str, home: Path, *, grace: float = 30) -> None:
        self.home: Final = home.resolve()
        # Helm runs in its home: what is relative here would be something else there.
        self._binary: Final = str(Path(binary).absolute()) if os.sep in binary else binary
        self._grace = grace
        self.observe: Observer = lambda *_: None

    async def version(self) -> str:
        """Return helm's version, such as ``v4.3.1``.

        Raises:
            HelmError: HELM_NOT_FOUND, if there is none, or not version 4.
        """
        ended = await self._run(["version", "--template", "{{.Version}}"], limit=_QUICK, stdout=4096)
        version = ended.stdout.decode(errors="replace").strip()
        if ended.code or not version.startswith("v4."):
            said = version.splitlines()[0][:32] if version else f"ended with code {ended.code}"
            raise HelmError(Reason.HELM_NOT_FOUND, f"{self._binary} is not helm 4: it says {said}")
        return version

    @observed("render")
    async def render(self, target: Target, access: Access, chart: Path, values: Mapping[str, Any]) -> str:
        """Return the manifest that an upgrade would have; nothing is written, conflicts of field managers are not seen.

        Raises:
            HelmError: The chart or the API server refuses.
        """
        ended = await self._call(
            [*_upgrade(target, chart), "--dry-run=server", "--output=json"],
            access,
            values,
            limit=_UNWAITING,
            stdout=_MANIFEST_LIMIT,
        )
        try:
            return str(json.loads(ended.stdout)["manifest"])
        except (ValueError, KeyError, TypeError):
            # No cause: its text would quote the answer.
            raise HelmError(Reason.HELM_FAILED, "The answer of a dry run of helm is unreadable") from None

    @observed("upgrade")
    async def upgrade(
        self,
        target: Target,
        access: Access,
        chart: Path,
        values: Mapping[str, Any],
        *,
        timeout: str,  # noqa: ASYNC109 - helm's own, a Go duration: it rolls back then
        attempt: str,
        description: str,
        history_max: int,
        force_conflicts: bool = False,
    ) -> None:
        """Upgrade a release that exists, wait until it is ready, and roll it back if it does not get so.

        Args:
            target: The release.
            access: How to get there.
            chart: A local chart: directory or archive.
            values: All of the user's values.
            timeout: How long the release may take to become ready, a Go duration such as 15m; the rollback again.
            attempt: Label of the revision.
            description: Of the revision; kept only on success.
            history_max: Revisions to keep.
            force_conflicts: Take fields from other field managers.

        Raises:
            HelmError: It failed; the release's Secrets tell what has become of it.
        """
        options = ["--wait=watcher", "--rollback-on-failure", f"--timeout={timeout}", f"--history-max={history_max}"]
        options += [f"--labels={LABEL_ATTEMPT}={attempt}", f"--description={description}", "--output=json"]
        options += ["--force-conflicts"] if force_conflicts else []
        await self._call([*_upgrade(target, chart), *options], access, values, limit=longest(timeout))

    @observed("rollback")
    async def rollback(
        self,
        target: Target,
        access: Access,
        revision: int,
        *,
        timeout: str,  # noqa: ASYNC109 - helm's own, a Go duration
        history_max: int,
    ) -> None:
        """Bring back a revision, as a new one, also if an operation that died holds the release.

        Raises:
            HelmError: It failed; the release's Secrets tell what has become of it.
        """
        options = ["--wait=watcher", f"--timeout={timeout}", f"--history-max={history_max}"]
        command = ["rollback", target.name, str(revision), f"--namespace={target.namespace}", *options]
        await self._call(command, access, None, limit=longest(timeout), interruptible=False)

    @observed("pull")
    async def pull(self, arguments: Sequence[str], *, inherited: Sequence[int] = ()) -> None:
        """Run a command that needs a chart's source and no cluster: ``pull`` or ``repo update``.

        Args:
            arguments: The command.
            inherited: File descriptors that it may read, such as those with credentials.

        Raises:
            HelmError: CHART_UNAVAILABLE.
        """
        ended = await self._run(arguments, limit=_UNWAITING, stdout=_PULL_LIMIT, inherited=inherited)
        if ended.code:
            raise classify_pull((ended.stderr + ended.stdout).decode(errors="replace"))

    async def _call(
        self,
        arguments: Sequence[str],
        access: Access,
        values: Mapping[str, Any] | None,
        *,
        limit: float,
        stdout: int = 0,
        interruptible: bool = True,
    ) -> child.Ended:
        command = [*arguments, *([f"--kube-context={access.context}"] if access.context else [])]
        command += [f"--kube-as-user={access.user}"] if access.user else []
        ended = await self._run(
            command,
            kubeconfig=access.kubeconfig,
            # Python's NaN and infinities are no JSON: helm could not read them.
            stdin=b"" if values is None else json.dumps(values, allow_nan=False).encode(),
            stdout=stdout,
            limit=limit,
            interruptible=interruptible,
        )
        _check(ended, values)
        return ended

    async def _run(
        self,
        arguments: Sequence[str],
        *,
        limit: float,
        kubeconfig: str | None = None,
        stdin: bytes = b"",
        stdout: int = 0,
        inherited: Sequence[int] = (),
        interruptible: bool = True,
    ) -> child.Ended:
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            async with asyncio.timeout(limit):
                return await child.run(
                    [self._binary, *arguments],
                    env=environment(self.home, kubeconfig),
                    cwd=self.home,
                    stdin=stdin,
                    stdout=stdout,
                    inherited=inherited,
                    grace=self._grace,
                    interruptible=interruptible,
                )
        except TimeoutError:
            raise HelmError(Reason.TIMEOUT, f"helm did not end within {limit:g} s", passing=True) from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise HelmError(Reason.HELM_NOT_FOUND, f"{self._binary} cannot be run: {why}") from None


def environment(home: Path, kubeconfig: str | None) -> dict[str, str]:
    """Return the whole environment of helm: nothing of the operator's but the way to the network.

    Args:
        home: Of helm's caches and settings, none of which the user's own are.
        kubeconfig: As in `Access`; with None the variables go along that name the API server to a pod.
    """
    names = {*_INHERITED, *_INHERITED_TOO}
    if kubeconfig is None:
        names |= {name for name in os.environ if name.startswith(_IN_CLUSTER)}
    inherited = {name: value for name, value in os.environ.items() if name in names}
    homes = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    files = os.pathsep.join(str(Path(each).absolute()) for each in (kubeconfig or "").split(os.pathsep) if each)
    return {**inherited, "HOME": str(home), **homes, **({"KUBECONFIG": files} if files else {})}


def _upgrade(target: Target, chart: Path) -> list[str]:
    path = str(chart.resolve())
    return ["upgrade", target.name, path, f"--namespace={target.namespace}", "--reset-values", "--values=-"]


def longest(timeout: str) -> float:
    """Seconds after which helm hangs and is ended: it may wait for the upgrade, and again for the rollback.

    Args:
        timeout: Helm's own, a Go duration.
    """
    return float(2 * durationpy.from_str(timeout).total_seconds() + _OVERHEAD)


def _check(ended: child.Ended, values: Mapping[str, Any] | None) -> None:
    if ended.code < 0:
        raise HelmError(Reason.CANCELLED, f"helm was ended by signal {-ended.code}", passing=True)
    if ended.code:
        raise classify(ended.stderr.decode(errors="replace"), values)
