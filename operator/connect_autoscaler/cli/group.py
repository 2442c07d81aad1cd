"""The group of verbs. Nothing heavy is imported here: the operator's own memory counts every module."""

import importlib
import sys
from pathlib import Path
from typing import Any, Final

import click

NAME: Final = "connect-autoscaler"
_PLUGIN: Final = "kubectl-"
COMPLETE: Final = "_CONNECT_AUTOSCALER_COMPLETE"
VERBS: Final = {
    "approve": "approve",
    "check": "check",
    "completion": "completion",
    "drift": "drift",
    "events": "events",
    "explain": "explain",
    "export": "render",
    "plan": "plan",
    "reconcile": "reconcile",
    "render": "render",
    "resume": "suspend",
    "status": "status",
    "support-bundle": "bundle",
    "suspend": "suspend",
    "uninstall": "uninstall",
    "version": "version",
}
"""Each verb and its module in this package, which has the command as an attribute of the verb's name."""


class LazyGroup(click.Group):
    """Imports a verb when it is called, or when all are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every verb."""
        return sorted({*super().list_commands(ctx), *VERBS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a verb."""
        if cmd_name in VERBS and cmd_name not in self.commands:
            module = importlib.import_module(f"connect_autoscaler.cli.{VERBS[cmd_name]}")
            self.add_command(getattr(module, cmd_name.replace("-", "_")), cmd_name)
        return super().get_command(ctx, cmd_name)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run, under the name by which the user called it."""
        if len(args) < len(("args", "prog_name")) and not settings.get("prog_name"):
            settings["prog_name"] = f"kubectl {NAME}" if Path(sys.argv[0]).name.startswith(_PLUGIN) else NAME
        return super().main(*args, **{"complete_var": COMPLETE, **settings})
