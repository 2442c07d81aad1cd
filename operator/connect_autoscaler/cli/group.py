"""The group of verbs. Nothing heavy is imported here: the operator's own memory counts every module."""

import importlib
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

NAME: Final = "connect-autoscaler"
_PLUGIN: Final = "kubectl-"
COMPLETE: Final = "_CONNECT_AUTOSCALER_COMPLETE"
_WIDTH: Final = 80


class Entry(NamedTuple):
    """A verb, as far as it is known before it is imported.

    Attributes:
        module: In this package; it has the command as an attribute of the verb's name.
        help: What the list of verbs says of it: the first sentence of its help.
    """

    module: str
    help: str


VERBS: Final = {
    "approve": Entry("approve", "Show the plan that waits, and approve just that."),
    "check": Entry("check", "Check what the operator needs, and say what to do."),
    "completion": Entry("completion", "Write the completion script of a shell."),
    "drift": Entry("drift", "Show which fields differ, or did and were put back."),
    "events": Entry("events", "Show the events of a profile and of its NodePools."),
    "explain": Entry("explain", "Say what a reason in status means, and what to do."),
    "export": Entry("render", "Write the Helm values of a profile in a file."),
    "plan": Entry("plan", "Show what the operator would do, and its cost."),
    "reconcile": Entry("reconcile", "Have the operator look at a profile now."),
    "render": Entry("render", "Write the NodePools of a profile in a file."),
    "resume": Entry("suspend", "Have a suspended operator go on."),
    "status": Entry("status", "Show a profile with all that hangs on it, as a tree."),
    "support-bundle": Entry("bundle", "Collect what somebody who helps needs to see."),
    "suspend": Entry("suspend", "Have the operator write nothing but status."),
    "uninstall": Entry("uninstall", "Let go of profiles, NodePools and NodeClaims."),
    "version": Entry("version", "Show versions of this program and of the cluster."),
}


class LazyGroup(click.Group):
    """Imports a verb when it is called. To list all of them, as every press of Tab does, needs none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every verb."""
        return sorted({*super().list_commands(ctx), *VERBS})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._told(name)) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer verbs and options."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=self._told(name)) for name in names), *options]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a verb."""
        if cmd_name in VERBS and cmd_name not in self.commands:
            module = importlib.import_module(f"connect_autoscaler.cli.{VERBS[cmd_name].module}")
            self.add_command(getattr(module, cmd_name.replace("-", "_")), cmd_name)
        return super().get_command(ctx, cmd_name)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run, under the name by which the user called it."""
        if len(args) < len(("args", "prog_name")) and not settings.get("prog_name"):
            settings["prog_name"] = f"kubectl {NAME}" if Path(sys.argv[0]).name.startswith(_PLUGIN) else NAME
        return super().main(*args, **{"complete_var": COMPLETE, **settings})

    def _told(self, name: str) -> str:
        return VERBS[name].help if name in VERBS else self.commands[name].get_short_help_str(_WIDTH)
