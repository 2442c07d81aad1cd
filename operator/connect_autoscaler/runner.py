"""The operator's life: connect, watch, reconcile, until it is told to stop."""

import asyncio
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import click
import kopf
import yaml
from kopf._cogs.structs.references import Insights  # what `spawn_tasks` is given, though not public
from kubernetes.aio.config import ConfigException

from connect_autoscaler import handlers
from connect_autoscaler.api.names import (
    GROUP,
    KARPENTER_VERSION,
    NODECLAIM_CRD,
    NODEPOOL_CRD,
    PLURAL,
    VENDOR_REPOSITORY,
)
from connect_autoscaler.core import endings, kubeconfig, metrics, probes
from connect_autoscaler.core.cache import EVERY
from connect_autoscaler.core.engine import Engine
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.leading import lead
from connect_autoscaler.core.lease import Lease, LeaseLostError, Terms
from connect_autoscaler.core.release_store import this_process
from connect_autoscaler.core.release_tools import Toolbox
from connect_autoscaler.release.charts import Charts
from connect_autoscaler.release.helm import Helm

log = logging.getLogger(__name__)
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_KARPENTER: Final = (NODEPOOL_CRD, NODECLAIM_CRD)
_POLL = 2.0
_LOG_FORMATS: Final = {"plain": kopf.LogFormat.FULL, "json": kopf.LogFormat.JSON}


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``connect-autoscaler run``; each has an environment variable ``CONNECT_AUTOSCALER_<OPTION>``."""

    kubeconfig: str | None = None
    context: str | None = None
    liveness_port: int = 0
    metrics_port: int = 0
    helm: str = "helm"
    helm_grace: float = 30.0
    """Seconds that an upgrade under way has to finish when the operator is told to end."""
    chart_dir: str | None = None
    chart_sources: tuple[str, ...] = (VENDOR_REPOSITORY,)
    release_namespaces: tuple[str, ...] | None = None
    require_service_account: bool = False
    leader_elect: bool = False
    namespace: str | None = None
    """Of the Lease."""

    def __post_init__(self) -> None:
        """Refuse an election without a place for its Lease."""
        if self.leader_elect and not self.namespace:
            raise ValueError("leader_elect needs a namespace")


def start(*, log_format: str, verbose: bool, **options: Any) -> None:
    """Run the operator as this process, until SIGTERM or SIGINT.

    Args:
        log_format: ``plain`` or ``json``.
        verbose: Whether to log details.
        options: The others of the command line, by their names in `Options`; lists still as texts.

    Raises:
        click.ClickException: What the user has to put right.
    """
    kopf.configure(verbose=verbose, log_format=_LOG_FORMATS[log_format])
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # else a line for every event of every object
    lists = {name: _words(options[name]) for name in ("chart_sources", "release_namespaces")}
    options["namespace"] = options["namespace"] or kubeconfig.own_namespace()
    if options["leader_elect"] and not options["namespace"]:
        raise click.UsageError(
            "--leader-elect needs a namespace for its Lease, and outside of a pod there is no default: "
            "give --namespace or CONNECT_AUTOSCALER_NAMESPACE"
        )
    try:
        asyncio.run(run(Options(**{**options, **lists})))
    except LeaseLostError:
        os._exit(1)  # the log has said so, and nothing may hold up the end
    except (ConfigException, yaml.YAMLError, UnicodeError) as error:
        raise click.ClickException(
            f"no cluster to work on: {error}; name one with --kubeconfig or $KUBECONFIG"
        ) from error
    except OSError as error:
        raise click.ClickException(f"cannot serve probes and metrics: {error}") from error


def _words(text: str | None) -> tuple[str, ...] | None:
    """Read a list; None stays None: all."""
    return None if text is None else tuple(word for word in text.replace(",", " ").split() if word)


def _toolbox(options: Options, home: str, counts: metrics.Metrics) -> Toolbox:
    helm = Helm(options.helm, Path(home))
    helm.observe = counts.helm_called
    directory = Path(options.chart_dir) if options.chart_dir else None
    return Toolbox(
        helm=helm,
        charts=Charts(helm, sources=options.chart_sources, directory=directory),
        holder=this_process(),
        kubeconfig=options.kubeconfig,
        context=options.context,
        namespaces=None if options.release_namespaces is None else frozenset(options.release_namespaces),
        account_required=options.require_service_account,
        elected=options.leader_elect,
        metrics=counts,
    )


async def run(options: Options, *, stop: asyncio.Event | None = None, ready: asyncio.Event | None = None) -> None:
    """Run the operator until a signal (or ``stop``).

    Kopf watches only kinds that exist when it starts; so it starts without Karpenter's, and again when they appear.

    Args:
        options: Where the API server is, and ports.
        stop: Ends the run; for embedding.
        ready: Set while the caches are complete; for embedding.
    """
    files = kubeconfig.files(options.kubeconfig)
    options = replace(options, kubeconfig=files, context=options.context or kubeconfig.current_context(files))
    stop, ready = stop or asyncio.Event(), ready or asyncio.Event()
    endings.in_one_line(asyncio.get_running_loop())
    engines: list[Engine] = []

    def overdue() -> timedelta:
        return engines[-1].oldest_pass if engines else timedelta()

    def ready_or_standing_by() -> bool:
        return ready.is_set() or (lease is not None and lease.standing_by)

    counts = metrics.Metrics(
        profiles=lambda: engines[-1].context.profiles.by(EVERY).values() if engines else (),
        leading=lambda: lease is None or lease.held,
    )
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(await Kube.connect(options.kubeconfig, options.context))
        kube.observe = counts.requested
        lease = await _lease(options, stack, counts)
        port = await stack.enter_async_context(
            probes.serve(options.liveness_port, overdue=overdue, ready=ready_or_standing_by)
        )
        shown = await stack.enter_async_context(metrics.serve(options.metrics_port, counts))
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="connect-autoscaler-"))
        tools = _toolbox(options, home, counts)
        log.info("probes on port %d, metrics on port %d", port, shown)

        async def serve() -> bool:
            served = {crd: await _versions(kube, crd, stop) for crd in _KARPENTER}
            engine = Engine(kube, tools, options.helm_grace)
            engines[:] = [engine]
            return await _serve(engine, stop, ready, served)

        async def work() -> None:
            await endings.over_and_over(serve, stop)

        _listen(stop)
        await _wait_for(kube, f"{PLURAL}.{GROUP}", stop)
        if lease is None:
            await work()
        else:
            kube.guard = lease.guard
            await lead(lease, work, stop, lambda: overdue() < probes.STUCK_AFTER)


async def _lease(options: Options, stack: AsyncExitStack, counts: metrics.Metrics) -> Lease | None:
    """The Lease on a connection of its own; None: nobody stands by."""
    if not (options.leader_elect and options.namespace):
        return None
    terms = Terms()
    kube = await Kube.connect(options.kubeconfig, options.context, patience=terms.deadline / 2)
    kube.observe = counts.requested
    return Lease(await stack.enter_async_context(kube), options.namespace, terms=terms)


def _listen(stop: asyncio.Event) -> None:
    """End on a signal also while Kopf, which listens itself, does not run: process 1 of a container ignores it else."""
    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)


async def _serve(
    engine: Engine, stop: asyncio.Event, ready: asyncio.Event, served: Mapping[str, frozenset[str]]
) -> bool:
    """Run Kopf once. Gives whether to run it again, with Karpenter's kinds.

    Args:
        engine: Does what Kopf's handlers call for.
        stop: Ends it.
        ready: Set while it watches.
        served: Versions of each of Karpenter's CRDs.
    """
    ended, again = asyncio.Event(), asyncio.Event()
    insights, karpenter = Insights(), all(served.values())
    kinds = {
        f"{PLURAL}.{GROUP}",
        *(crd for crd, versions in served.items() if karpenter and KARPENTER_VERSION in versions),
    }
    side = [asyncio.create_task(_forward(stop, ended))]
    if not karpenter:
        log.warning("%s does not exist; waiting for Karpenter", NODEPOOL_CRD)
        side.append(asyncio.create_task(_watch_for_karpenter(engine.context.kube, again, ended)))
    engine.context.recorder.start()
    try:
        before = asyncio.all_tasks()
        roots = await kopf.spawn_tasks(
            registry=handlers.registry(engine, ended, karpenter=karpenter),
            settings=handlers.settings(),
            clusterwide=True,
            standalone=True,
            # For peers, of which it has none; else Kopf asks for the user's name, and a container's uid may have none.
            identity="connect-autoscaler",  # type: ignore[arg-type] # a NewType of Kopf's that is not public
            stop_flag=ended,
            ready_flag=ready,
            insights=insights,
        )
        roots = [*roots, asyncio.create_task(endings.see(insights, kinds), name="sight of all kinds")]
        run = kopf.run_tasks(roots, ignored=before)
        await endings.insist(roots, run, before, engine.stopped, engine.grace)
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
    while not all([await _versions(kube, crd, ended) for crd in _KARPENTER]):
        if ended.is_set():
            return
        await endings.rest(ended, _POLL)
    again.set()
    ended.set()


async def _wait_for(kube: Kube, crd: str, stop: asyncio.Event) -> None:
    said = False
    while not await _versions(kube, crd, stop) and not stop.is_set():
        if not said:
            log.warning("CustomResourceDefinition %s does not exist; waiting for it", crd)
            said = True
        await endings.rest(stop, _POLL)


async def _versions(kube: Kube, crd: str, stop: asyncio.Event) -> frozenset[str]:
    """Give the versions that a CRD serves, none if it is not there or not established yet.

    An API server that does not answer is asked again until the stop.
    """
    delays = iter((0.2, 0.5, 1, 2, 5))
    while not stop.is_set():
        try:
            found = await kube.get(f"{_CRDS}/{crd}")
        except KubeError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return frozenset()
            log.warning("%s", error)
            await endings.rest(stop, next(delays, 10))
        else:
            conditions = found.get("status", {}).get("conditions", ())
            established = any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
            return frozenset(v["name"] for v in found["spec"]["versions"] if established and v["served"])
    return frozenset()
