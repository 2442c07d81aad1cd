"""`python -m demo`: see the operator at work on a real local control plane."""

import asyncio
import signal
import sys

import click

from demo.play import play
from demo.show import Show
from sandbox import NotYetError, SandboxError
from sandbox.build import ensure
from sandbox.tools import DEMO

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option("--keep", is_flag=True, envvar="KEEP", help="Leave everything running at the end, until Ctrl-C.")
def main(*, keep: bool) -> None:
    """See the operator at work on a real local control plane.

    Takes a minute and leaves nothing behind. The first run builds the control plane before: about 15 minutes.
    """
    try:
        ensure(output for tool in DEMO for output in tool.outputs)
        sys.exit(asyncio.run(_run(keep=keep)))
    except (SandboxError, NotYetError) as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        sys.exit(f"error: {error}{notes}")


async def _run(*, keep: bool) -> int:
    received: list[signal.Signals] = []
    work = asyncio.create_task(play(Show(), keep=keep))

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
