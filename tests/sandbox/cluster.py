"""A complete control plane of ordinary processes on loopback, for as long as a context lasts."""

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pykube import HTTPClient

from sandbox import build, certs
from sandbox.access import client, write_kubeconfig
from sandbox.apply import FIELD_MANAGER, Manifest, apply
from sandbox.audit import Audit
from sandbox.components import Component, Options, Parts, components, environment, healthy
from sandbox.errors import SandboxError
from sandbox.processes import Processes

Karpenter = Literal["1.14", "1.15"]

_READY_LIMIT = 60.0
_POLL = 0.05
_TOKEN_SECONDS = 24 * 3600


class Cluster:
    """A running control plane.

    Attributes:
        dir: Its directory: certificates, kubeconfigs, logs, data.
        kubeconfig: The administrator's (group system:masters).
        server: The https URL of the API server.
        ca: The certificate that signed the server's.
        audit: What the API server was asked.
    """

    def __init__(self, directory: Path, programs: Mapping[str, Component], processes: Processes) -> None:
        self.dir = directory
        self.kubeconfig = directory / "kubeconfig"
        self._components = programs
        self._processes = processes
        self._authority = certs.issue("sandbox-ca")
        self.ca, _ = self._authority.write(directory, "ca")
        certs.issue("kube-apiserver", ca=self._authority, loopback=True).write(directory, "server")
        certs.issue("service-accounts").write(directory, "sa")
        if "kwok" in programs:
            stages = sorted(build.find("kwok-stages").glob("*.yaml"))
            (directory / "stages.yaml").write_text("\n---\n".join(path.read_text() for path in stages))
        self.server = self._components["kube-apiserver"].health.removesuffix("/readyz")
        self._user_kubeconfig(self.kubeconfig, "admin", ["system:masters"])
        self.audit = Audit(directory / "audit.log", self.api)

    @cached_property
    def api(self) -> HTTPClient:
        """The administrator's synchronous client."""
        return client(self.kubeconfig)

    @property
    def logs(self) -> dict[str, Path]:
        """The log file of each component."""
        return {name: self._processes.log(name) for name in self._components}

    def binary(self, name: str) -> Path:
        """Return the path of a program, such as `helm` or `kubectl`."""
        return build.find(name)

    def apply(self, *manifests: Manifest, field_manager: str = FIELD_MANAGER) -> list[dict[str, Any]]:
        """Apply dicts, YAML text, files or directories as the administrator; see `sandbox.apply.apply`."""
        return apply(self.api, *manifests, field_manager=field_manager)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig with a token of an existing ServiceAccount, valid for a day.

        Raises:
            pykube.exceptions.HTTPError: If the ServiceAccount does not exist.
        """
        response = self.api.post(
            version="v1",
            namespace=namespace,
            url=f"serviceaccounts/{name}/token",
            json={"spec": {"expirationSeconds": _TOKEN_SECONDS}},
        )
        self.api.raise_for_status(response)
        path = self.dir / f"kubeconfig-{namespace}-{name}"
        return write_kubeconfig(path, self.server, self.ca, {"token": response.json()["status"]["token"]})

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig with a client certificate for a user in these groups."""
        return self._user_kubeconfig(self.dir / f"kubeconfig-user-{name.replace('/', '_')}", name, groups)

    def _user_kubeconfig(self, path: Path, name: str, groups: Sequence[str]) -> Path:
        identity = certs.issue(name, groups, self._authority)
        crt, key = identity.write(self.dir, f"client-{path.name}")
        user = {"client-certificate": str(crt), "client-key": str(key)}
        return write_kubeconfig(path, self.server, self.ca, user)

    @property
    def environment(self) -> dict[str, str]:
        """Variables for kubectl and helm: this cluster, and none of the user's own settings or caches."""
        homes = {f"HELM_{kind}_HOME": str(self.dir / "helm" / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        return {**environment(self.dir), **homes, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *args: str | Path, input: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002 - subprocess.run's name
        """Run kubectl as the administrator, and return whatever came of it."""
        return self._run("kubectl", args, input)

    def helm(self, *args: str | Path, input: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002 - subprocess.run's name
        """Run helm as the administrator, and return whatever came of it."""
        return self._run("helm", args, input)

    def _run(self, name: str, args: Sequence[str | Path], text: str | None) -> subprocess.CompletedProcess[str]:
        stdin = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
        return subprocess.run(
            [self.binary(name), *args], env=self.environment, text=True, capture_output=True, check=False, **stdin
        )

    def pid(self, name: str) -> int:
        """Return the process id of a running component, which is also the id of its process group."""
        return self._processes.pid(name)

    async def start(self, *names: str) -> None:
        """Start components that are stopped, and wait until they work.

        Raises:
            SandboxError: If one ends while it starts (with the end of its log), or does not get ready.
        """
        for name in names:
            component = self._components[name]
            env = {**environment(self.dir), **component.env}
            await self._processes.start(name, [str(self.binary(component.binary)), *component.arguments], env)
        await asyncio.gather(*(self._ready(self._components[name]) for name in names))

    async def stop(self, name: str) -> None:
        """End a component in good order."""
        await self._processes.stop(name)

    async def kill(self, name: str) -> None:
        """End a component at once, as a crash would."""
        await self._processes.kill(name)

    async def restart(self, name: str) -> None:
        """End a component in good order, start it again on the same port, and wait until it works."""
        await self.stop(name)
        await self.start(name)

    async def watch(self) -> None:
        """Wait until a component ends by itself.

        Raises:
            SandboxError: When that happens, with the end of its log.
        """
        await self._processes.watch()

    async def _ready(self, component: Component) -> None:
        deadline = asyncio.get_running_loop().time() + _READY_LIMIT
        while not await asyncio.to_thread(healthy, component.health):
            self._processes.check()
            if asyncio.get_running_loop().time() > deadline:
                last = self._processes.tail(component.name)
                raise SandboxError(f"{component.name} is not ready after {_READY_LIMIT:g} s; its last lines:\n{last}")
            await asyncio.sleep(_POLL)


def requirements(parts: Parts, karpenter: Karpenter | None) -> list[str]:
    """Return what has to be built for a cluster: outputs for `sandbox.build.ensure`."""
    result = ["etcd", "kube-apiserver"]
    if Parts.CONTROL in parts:
        result += ["kube-controller-manager", "kube-scheduler"]
    if Parts.KWOK in parts:
        result += ["kwok", "kwok-stages"]
    if karpenter:
        result += [f"karpenter-{karpenter}-crds"] + [f"karpenter-{karpenter}"] * (Parts.KARPENTER in parts)
    return result


@contextlib.asynccontextmanager
async def cluster(
    *,
    parts: Parts = Parts.ALL,
    karpenter: Karpenter | None = "1.14",
    crds: Literal["karpenter"] | Path | None = "karpenter",
    feature_gates: str = "",
    karpenter_env: Mapping[str, str] | None = None,
    keep: bool = False,
) -> AsyncIterator[Cluster]:
    """Run a control plane while the context lasts; many may run side by side.

    Whatever ends the context or this very process ends the programs too.

    Args:
        parts: What runs; the API always does.
        karpenter: Which Karpenter; None for none.
        crds: Karpenter's own custom resource definitions of that version (also without the program), those of another
            directory instead, or none.
        feature_gates: Karpenter's, such as `NodeRepair=true`.
        karpenter_env: More variables for Karpenter, such as `{"BATCH_IDLE_DURATION": "100ms"}`.
        keep: Leave the directory with logs and data behind.

    Raises:
        SandboxError: If a program is not built, does not start, or ended by itself meanwhile.
    """
    if karpenter is None:
        parts, crds = parts & ~Parts.KARPENTER, None if crds == "karpenter" else crds
    elif crds is None and Parts.KARPENTER in parts:
        # It would run, but never finish a deletion: its indexes are made once, at the start.
        raise SandboxError("Karpenter needs its custom resource definitions before it starts")
    for output in requirements(parts, karpenter):
        build.find(output)
    definitions = build.find(f"karpenter-{karpenter}-crds") if crds == "karpenter" else crds
    options = Options(karpenter, feature_gates, karpenter_env or {})
    directory = Path(tempfile.mkdtemp(prefix="connect-autoscaler-"))
    logs = directory / "logs"
    logs.mkdir()
    processes = await Processes.open(logs, remove=None if keep else directory)
    try:
        it = Cluster(directory, components(directory, parts | Parts.API, options), processes)
        with contextlib.closing(it.api.session):
            await it.start("etcd", "kube-apiserver")
            if definitions:
                await asyncio.to_thread(it.apply, definitions)
            await it.start(*(name for name in it.logs if name not in {"etcd", "kube-apiserver"}))
            yield it
        processes.check()
    except BaseException as error:
        for line in processes.crashed():
            if line not in str(error):
                error.add_note(line)
        raise
    finally:
        await processes.close()
