"""Who is measured, and how each is started and asked."""

import asyncio
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from benchmarks.api import Api
from benchmarks.process import Process
from benchmarks.world import INSTANCES, PROFILES, World, definition, instance, node_class, node_pools, profile
from sandbox import Cluster, eventually
from sandbox.apply import Manifest
from sandbox.build import find
from sandbox.components import free_ports, healthy

CRD: Final = Path(__file__).parents[2] / "crds" / "connectautoscalingprofiles.yaml"
USER: Final = "contender"
"""The user as whom every contender writes, an administrator, so that no request is slowed down by fairness queues."""
_POLL: Final = 0.01


class Contender(ABC):
    """Something that keeps NodePools."""

    name: ClassVar[str]
    parents: ClassVar[str] = ""
    """Path of the collection of its parents."""
    requires: ClassVar[tuple[str, ...]] = ()
    """What has to be built for it."""

    def __init__(self, cluster: Cluster, api: Api, world: World) -> None:
        self.cluster, self.api, self.world = cluster, api, world
        self.kubeconfig = cluster.user_kubeconfig(USER, ["system:masters"])
        self.log = cluster.dir / "logs" / f"{self.name}.log"
        self.port, self._other_port = free_ports(2)

    @property
    @abstractmethod
    def argv(self) -> list[str]:
        """Its command line."""

    @property
    def env(self) -> Mapping[str, str]:
        """Variables beyond PATH and HOME."""
        return {}

    def manifests(self) -> list[Manifest]:
        """What has to be in the cluster before it starts."""
        return []

    async def ready(self, process: Process) -> None:
        """Wait until it is ready for parents."""
        await eventually(lambda: "ready\n" in process.output, interval=_POLL)

    async def ask_beforehand(self) -> None:
        """Create all parents at once, whether or not it runs already."""
        await asyncio.gather(*(self.api.create(self.parents, body) for body in self.bodies()))

    async def ask_afterwards(self, process: Process) -> None:
        """Ask the process itself, if it has no parents to look at."""
        process.check()

    @abstractmethod
    def bodies(self) -> list[dict[str, object]]:
        """The parents."""

    async def forget(self) -> None:
        """Delete all parents; to be called while it does not run."""
        await self.api.delete_all(self.parents)

    def _answers(self) -> bool:
        return healthy(f"http://127.0.0.1:{self.port}/readyz")


class Ours(Contender):
    """This project's operator, with the settings of the shipped deployment."""

    name = "ours"
    parents = PROFILES

    def manifests(self) -> list[Manifest]:
        return [CRD, node_class()]

    @property
    def argv(self) -> list[str]:
        options = ["--kubeconfig", str(self.kubeconfig), "--liveness-port", str(self.port), "--log-format", "json"]
        return [sys.executable, "-m", "connect_autoscaler", "run", *options]

    @property
    def env(self) -> Mapping[str, str]:
        return {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}

    async def ready(self, process: Process) -> None:
        process.check()
        await eventually(self._answers, interval=_POLL)

    def bodies(self) -> list[dict[str, object]]:
        return [profile(pair) for pair in self.world.pairs]


class Empty(Ours):
    """An empty Kopf operator with the same libraries."""

    name = "empty"

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.empty", str(self.kubeconfig)]

    async def ready(self, process: Process) -> None:
        await Contender.ready(self, process)


class Floor(Contender):
    """One watch and one apply."""

    name = "floor"

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.floor", str(self.kubeconfig)]

    @property
    def env(self) -> Mapping[str, str]:
        return {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}

    async def ask_beforehand(self) -> None:
        pass

    async def ask_afterwards(self, process: Process) -> None:
        path = self.cluster.dir / "node-pools.json"
        path.write_text(json.dumps(self.bodies()))
        await process.tell(str(path))

    def bodies(self) -> list[dict[str, object]]:
        return list(node_pools(self.world))

    async def forget(self) -> None:
        pass


class Kro(Contender):
    """kro with its chart's settings, but ten concurrent reconciles and no leader election."""

    name = "kro"
    parents = INSTANCES
    requires = ("kro", "kro-crds")

    @property
    def argv(self) -> list[str]:
        return [
            str(find("kro")),
            f"--metrics-bind-address=127.0.0.1:{self._other_port}",
            f"--health-probe-bind-address=127.0.0.1:{self.port}",
            "--dynamic-controller-concurrent-reconciles=10",
            "--zap-log-level=info",
            "--zap-encoder=console",
            "--zap-devel=false",
        ]

    @property
    def env(self) -> Mapping[str, str]:
        return {"KUBECONFIG": str(self.kubeconfig)}

    def manifests(self) -> list[Manifest]:
        return [find("kro-crds"), definition()]

    async def ready(self, process: Process) -> None:
        process.check()
        await eventually(self._answers, interval=_POLL)
        await eventually(self._active, interval=_POLL)

    async def _active(self) -> bool:
        found = await self.api.get("/apis/kro.run/v1alpha1/resourcegraphdefinitions/connect-pools")
        if found.get("status", {}).get("state") != "Active":
            return False
        await self.api.get(INSTANCES)
        return True

    def bodies(self) -> list[dict[str, object]]:
        return [instance(pair) for pair in self.world.pairs]


CONTENDERS: Final[Mapping[str, type[Contender]]] = {each.name: each for each in (Ours, Floor, Kro)}
