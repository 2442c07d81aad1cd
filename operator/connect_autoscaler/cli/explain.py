"""`explain`: what a reason means, and what to do."""

from itertools import chain
from typing import Final

import click
from click.shell_completion import CompletionItem
from rich.console import Console

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.explained import Explained
from connect_autoscaler.cli.errors import CliError, near
from connect_autoscaler.cli.verb import Format, Verb, emit, output_option, table
from connect_autoscaler.jobs.recovery import Why

_ALL: Final[dict[str, Explained]] = {each.value: each for each in chain(Why, Reason)}


class _Word(click.ParamType[str]):
    name = "reason"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del ctx, param
        return [CompletionItem(word) for word in sorted(_ALL) if word.startswith(incomplete)]


@click.command(cls=Verb)
@click.argument("reason", required=False, type=_Word())
@output_option(Format.TABLE, Format.JSON, Format.YAML)
def explain(reason: str | None, form: str) -> None:
    """Say what a reason in status means, and what to do.

    Without REASON it lists all of them. Needs no cluster.
    """
    found = {word.lower(): each for word, each in _ALL.items()}
    if reason is not None and reason.lower() not in found:
        raise CliError(f"There is no reason {reason}; {near(reason, sorted(_ALL)) if _close(reason) else _list()}")
    words = sorted(_ALL) if reason is None else [found[reason.lower()].value]
    document = [{"reason": word, "explanation": _ALL[word].explain} for word in words]

    def draw(at: Console) -> None:
        if reason is not None:
            at.print(f"{words[0]}: {_ALL[words[0]].explain}")
        else:
            at.print(table("REASON", "MEANING", rows=[(each["reason"], each["explanation"]) for each in document]))

    emit(form, document[0] if reason is not None else document, draw)


def _close(reason: str) -> bool:
    return near(reason, sorted(_ALL)).startswith("did")


def _list() -> str:
    return "explain without a word lists all of them"
