"""The operator's life: connect, watch, reconcile, until it is told to stop."""

import asyncio
import logging
import os
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final

import kopf

from connect_autoscaler import handlers
from connect_autoscaler.api.names import GROUP, NODECLAIM_CRD, NODEPOOL_CRD, PLURAL
from connect_autoscaler.core import probes
from connect_autoscaler.core.engine import Engine
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Kube, in_cluster
from connect_autoscaler.core.release_store import this_process
from connect_autoscaler.core.release_tools import Toolbox
from connect_autoscaler.release.charts import Charts
from connect_autoscaler.release.helm import Helm

log = logging.getLogger(__name__)
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_POLL = 2.0
DEFAULT_SOURCE: Final = "https://helm.rstudio.com"
"""The vendor's repository of charts."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``connect-autoscaler run``; each has an environment variable ``CONNECT_AUTOSCALER_<OPTION>``."""

    kubeconfig: str | None = None
    context: str | None = None
    liveness_port: int = 0
    helm: str = "helm"
    helm_grace: float = 30.0
    """Seconds that an upgrade under way has to finish when the operator is told to end."""
    chart_dir: str | None = None
    chart_sources: tuple[str, ...] = (DEFAULT_SOURCE,)
    release_namespaces: tuple[str, ...] | None = None
    require_service_account: bool = False


def _toolbox(options: Options, home: str) -> Toolbox:
    helm = Helm(options.helm, Path(home))
    directory = Path(options.chart_dir) if options.chart_dir else None
    kubeconfig = options.kubeconfig
    if kubeconfig is None and not in_cluster():
        kubeconfig = os.environ.get("KUBECONFIG", "~/.kube/config")
        kubeconfig = os.pathsep.join(str(Path(each).expanduser()) for each in kubeconfig.split(os.pathsep))
    return Toolbox(
        helm=helm,
        charts=Charts(helm, sources=options.chart_sources, directory=directory),
        holder=this_process(),
        kubeconfig=kubeconfig,
        context=options.context,
        namespaces=None if options.release_namespaces is None else frozenset(options.release_namespaces),
        account_required=options.require_service_account,
    )


async def run(options: Options, *, stop: asyncio.Event | None = None, ready: asyncio.Event | None = None) -> None:
    """Run the operator until a signal (or ``stop``).

    Kopf watches only kinds that exist when it starts; so it starts without Karpenter's, and again when they appear.

    Args:
        options: Where the API server is, and ports.
        stop: Ends the run; for embedding.
        ready: Set while the caches are complete; for embedding.
    """
    ready = ready or asyncio.Event()
    engines: list[Engine] = []

    def overdue() -> timedelta:
        return engines[-1].oldest_pass if engines else timedelta()

    async with (
        AsyncExitStack() as stack,
        await Kube.connect(options.kubeconfig, options.context) as kube,
        probes.serve(options.liveness_port, overdue=overdue, ready=ready.is_set) as port,
    ):
        tools = _toolbox(options, stack.enter_context(tempfile.TemporaryDirectory(prefix="connect-autoscaler-")))
        log.info("probes on port %d", port)
        await _wait_for(kube, f"{PLURAL}.{GROUP}", stop)
        again = True
        while again and not (stop and stop.is_set()):
            karpenter = await _karpenter(kube)
            engine = Engine(kube, tools, options.helm_grace)
            engines[:] = [engine]
            again = await _serve(engine, stop, ready, karpenter=karpenter)


async def _serve(engine: Engine, stop: asyncio.Event | None, ready: asyncio.Event, *, karpenter: bool) -> bool:
    """Run Kopf once. Gives whether to run it again, with Karpenter's kinds."""
    ended, again = asyncio.Event(), asyncio.Event()
    side = [asyncio.create_task(_forward(stop, ended))] if stop else []
    if not karpenter:
        log.warning("%s does not exist; waiting for Karpenter", NODEPOOL_CRD)
        side.append(asyncio.create_task(_watch_for_karpenter(engine.context.kube, again, ended)))
    engine.context.recorder.start()
    try:
        await kopf.operator(
            registry=handlers.registry(engine, ended, karpenter=karpenter),
            settings=handlers.settings(),
            clusterwide=True,
            standalone=True,
            stop_flag=ended,
            ready_flag=ready,
        )
    finally:
        ready.clear()
        for task in side:
            task.cancel()
        await asyncio.gather(*side, return_exceptions=True)
        await engine.context.recorder.stop()
    return again.is_set()


async def _forward(stop: asyncio.Event, ended: asyncio.Event) -> None:
    await stop.wait()
    ended.set()


async def _watch_for_karpenter(kube: Kube, again: asyncio.Event, ended: asyncio.Event) -> None:
    while not await _karpenter(kube):  # noqa: ASYNC110 - what is polled is the API server
        await asyncio.sleep(_POLL)
    again.set()
    ended.set()


async def _wait_for(kube: Kube, crd: str, stop: asyncio.Event | None) -> None:
    said = False
    while not await _exists(kube, crd) and not (stop and stop.is_set()):
        if not said:
            log.warning("CustomResourceDefinition %s does not exist; waiting for it", crd)
            said = True
        await asyncio.sleep(_POLL)


async def _karpenter(kube: Kube) -> bool:
    return await _exists(kube, NODEPOOL_CRD) and await _exists(kube, NODECLAIM_CRD)


async def _exists(kube: Kube, crd: str) -> bool:
    """Whether a CRD exists and serves requests; an API server that does not answer is asked again."""
    delays = iter((0.2, 0.5, 1, 2, 5))
    while True:
        try:
            found = await kube.get(f"{_CRDS}/{crd}")
        except KubeError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            log.warning("%s", error)
            await asyncio.sleep(next(delays, 10))
        else:
            conditions = found.get("status", {}).get("conditions", ())
            return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
