"""`python -m recorder`: watch any cluster until Ctrl-C, then write the page."""

import asyncio
import signal
from pathlib import Path

import click
from kubernetes.aio.config import ConfigException

from recorder.page import page
from recorder.record import Watched
from recorder.recorder import Recorder


@click.command()
@click.argument("profile")
@click.option("--namespace", "-n", required=True, help="Namespace of the Connect release.")
@click.option("--release", default="connect", show_default=True, help="Name of the Helm release.")
@click.option("--kubeconfig", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Default: as kubectl.")
@click.option("--context", help="Context of the kubeconfig.")
@click.option("--seconds", type=click.FloatRange(min=1), help="How long; default: until Ctrl-C.")
@click.option(
    "--page", "target", type=click.Path(path_type=Path, dir_okay=False), default=Path("build/record.html"),
    show_default=True, help="Where the page goes.",
)  # fmt: skip
def main(
    profile: str,
    namespace: str,
    release: str,
    kubeconfig: Path | None,
    context: str | None,
    seconds: float | None,
    target: Path,
) -> None:
    """Record what happens around PROFILE, and write it as one page of HTML.

    Only lists and watches: nodes, NodePools, profiles, and pods of the namespace.
    """
    recorder = Recorder(kubeconfig, Watched(profile, namespace, release), context)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)  # before the time is spent
        asyncio.run(_record(recorder, seconds))
        target.write_text(page(recorder.record, f"Profile {profile}"))
    except ConfigException as error:
        raise click.ClickException(f"no cluster to watch: {error}; name one with --kubeconfig") from None
    except OSError as error:
        raise click.ClickException(f"cannot write {target}: {error.strerror}; name another file with --page") from None
    click.echo(f"The page: {target}")


async def _record(recorder: Recorder, seconds: float | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with recorder:
        for kind, why in recorder.record.unseen.items():
            click.echo(f"not seen yet: {kind}: {why}", err=True)
        click.echo("Recording; Ctrl-C ends it.", err=True)
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            pass


if __name__ == "__main__":
    main()
