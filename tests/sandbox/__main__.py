"""The command line: `python -m sandbox build` and `python -m sandbox up`."""

import asyncio
import shlex
import signal
import sys
import time

import click

from sandbox.build import ensure, find
from sandbox.cluster import Karpenter, cluster, requirements
from sandbox.components import Parts
from sandbox.errors import SandboxError
from sandbox.tools import DEMO, TOOLS

_FOR_THE_SHELL = ("kubectl", "helm")


@click.group()
def main() -> None:
    """A local control plane: real etcd, Kubernetes, kwok, Karpenter and Helm, as ordinary processes."""


@main.command()
@click.option("--demo", is_flag=True, help="Only what the demo needs: one Karpenter.")
def build(*, demo: bool) -> None:
    """Build the pinned programs into the cache.

    About 15 minutes the first time, nothing to do later.
    """
    tools = DEMO if demo else TOOLS
    ensure(output for tool in tools for output in tool.outputs)
    for tool in tools:
        for output in tool.outputs:
            click.echo(f"{tool.title:18} {find(output)}")


@main.command()
@click.option("--api-only", is_flag=True, help="etcd and kube-apiserver alone: no controllers, no nodes.")
@click.option("--karpenter", type=click.Choice(["1.14", "1.15"]), default="1.14", show_default=True)
@click.option("--keep", is_flag=True, help="Leave the directory with logs and data behind.")
def up(*, api_only: bool, karpenter: Karpenter, keep: bool) -> None:
    """Run a control plane until Ctrl-C.

    Builds what is missing first, and prints the two lines that point a shell at the cluster.
    """
    parts = Parts.API if api_only else Parts.ALL
    ensure([*requirements(parts, karpenter), *_FOR_THE_SHELL])
    number = asyncio.run(_up(parts, karpenter, keep=keep))
    # Ctrl-C is how it is meant to end; anything else is told by the shell's convention.
    sys.exit(0 if number == signal.SIGINT else 128 + number)


async def _up(parts: Parts, karpenter: Karpenter, *, keep: bool) -> signal.Signals:
    received: list[signal.Signals] = []
    work = asyncio.create_task(_run(parts, karpenter, keep=keep))

    def end(number: signal.Signals) -> None:
        if not received:  # an impatient second Ctrl-C must not interrupt the stopping
            received.append(number)
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        await work
    except asyncio.CancelledError:
        click.echo("stopped", err=True)
    return received[0]


async def _run(parts: Parts, karpenter: Karpenter, *, keep: bool) -> None:
    started = time.monotonic()
    async with cluster(parts=parts, karpenter=karpenter, keep=keep) as it:
        links = it.dir / "bin"
        links.mkdir()
        for name in _FOR_THE_SHELL:
            (links / name).symlink_to(it.binary(name))
        click.echo(f"ready after {time.monotonic() - started:.1f} s; logs are in {it.dir / 'logs'}", err=True)
        click.echo(f"export KUBECONFIG={shlex.quote(str(it.kubeconfig))}")
        click.echo(f'export PATH={shlex.quote(str(links))}:"$PATH"')
        click.echo("Ctrl-C stops it", err=True)
        try:
            await it.watch()
        finally:
            click.echo("stopping ...", err=True)


if __name__ == "__main__":
    try:
        main()
    except SandboxError as error:
        sys.exit(f"error: {error}")
