"""`completion`: what a shell needs to complete verbs, options, profiles and reasons."""

import click
from click.shell_completion import get_completion_class

from connect_autoscaler.cli.group import COMPLETE, NAME
from connect_autoscaler.cli.verb import Verb


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Write the completion script of a shell.

    \b
    bash: source <(connect-autoscaler completion bash)
    zsh:  source <(connect-autoscaler completion zsh)
    fish: connect-autoscaler completion fish | source
    """  # noqa: D301 - click's own mark of what it must not wrap
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"click does not complete in {shell}")
    group = ctx.find_root().command
    writer = made(group, {}, NAME, COMPLETE)
    click.echo(writer.source_template % writer.source_vars())
