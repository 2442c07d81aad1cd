"""`python -m demo`: see the operator at work on a real local control plane."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import click

from demo.play import play
from demo.show import Show
from sandbox import NotYetError, SandboxError
from sandbox.build import ensure
from sandbox.tools import DEMO

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option("--keep", is_flag=True, envvar="KEEP", help="Leave everything running at the end, until Ctrl-C.")
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    default=Path("build/demo.html"),
    show_default=True,
    envvar="PAGE",
    help="Where the page with pictures of it all goes.",
)
def main(*, keep: bool, page: Path) -> None:
    """See the operator at work on a real local control plane.

    Takes a minute and leaves one page of HTML behind. The first run builds the control plane before: about 15 minutes.
    """
    try:
        _provide(page.parent)
        ensure(output for tool in DEMO for output in tool.outputs)
        code = asyncio.run(_run(page, keep=keep))
    except (SandboxError, NotYetError) as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        sys.exit(f"error: {error}{notes}")
    except OSError as error:
        if error.filename != str(page):
            raise
        sys.exit(f"error: cannot write the page {page}: {error.strerror}; name another file with --page")
    if code in {0, 1}:
        click.echo(f"The page of it: {page}")
    sys.exit(code)


def _provide(directory: Path) -> None:
    """Make sure of the page's directory, before a minute is spent on what could not be written.

    Raises:
        SandboxError: It cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SandboxError(f"cannot make {directory} for the page: {error.strerror}; name a file with --page") from None
    if not os.access(directory, os.W_OK):
        raise SandboxError(f"cannot write the page into {directory}; name another file with --page")


async def _run(page: Path, *, keep: bool) -> int:
    received: list[signal.Signals] = []
    work = asyncio.create_task(play(Show(), page, keep=keep))

    def end(number: signal.Signals) -> None:
        if not received:  # an impatient second Ctrl-C must not interrupt the stopping
            received.append(number)
            work.cancel()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return 0 if await work else 1
    except asyncio.CancelledError:
        return 128 + received[0]  # the shell's convention


if __name__ == "__main__":
    main()
