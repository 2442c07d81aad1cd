"""What verbs have in common: options, output, the choice of a profile, and errors as sentences."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import click
import yaml
from click.shell_completion import CompletionItem
from rich.console import Console
from rich.table import Table

from connect_autoscaler.api.names import GROUP, KIND
from connect_autoscaler.cli.cluster import PROFILES, Access, Cluster, Json
from connect_autoscaler.cli.errors import CliError, near, translated

F = TypeVar("F", bound=Callable[..., Any])

_WIDE: Final = 10_000
"""Columns of an output that is no terminal: nothing is cut for those who read it by program."""
_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


class Verb(click.Command):
    """A command whose errors are sentences."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with translated():
            return super().invoke(ctx)


class Format(StrEnum):
    """Forms of output."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class _ProfileName(click.ParamType[str]):
    name = "profile"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the profiles of the cluster; none if it does not answer."""
        del param
        access = Access(ctx.params.get("kubeconfig"), ctx.params.get("context"))
        try:
            with access.open() as cluster:
                names = [each["metadata"]["name"] for each in cluster.list(PROFILES)]
        except click.ClickException:
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def cluster_options(function: F) -> F:
    """Add the options that say which cluster is meant: ``kubeconfig`` and ``context``."""
    context = click.option(
        "--context", envvar="CONNECT_AUTOSCALER_CONTEXT", help="Context of the kubeconfig. Default: its current one."
    )
    kubeconfig = click.option(
        "--kubeconfig",
        envvar="CONNECT_AUTOSCALER_KUBECONFIG",
        type=click.Path(dir_okay=False),
        help="Kubeconfig file. Default: $KUBECONFIG or ~/.kube/config.",
    )
    return kubeconfig(context(function))


def output_option(*formats: Format) -> Callable[[F], F]:
    """Add ``-o``; the first form is the default."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice([each.value for each in formats]),
        default=formats[0].value,
        show_default=True,
        help="Form of the output.",
    )


def timeout_option(default: float) -> Callable[[F], F]:
    """Add ``--timeout``."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait before giving up.",
    )


profile_argument = click.argument("profile", required=False, type=_ProfileName())
"""The name of a profile, which may be left out where there is only one."""


def choose(cluster: Cluster, name: str | None) -> Json:
    """Find the profile that is meant.

    Raises:
        CliError: There is none of that name, or several and no name.
    """
    found = {str(each["metadata"]["name"]): each for each in cluster.list(PROFILES)}
    if name in found:
        return found[name]
    names = sorted(found)
    if name is not None:
        raise CliError(f"There is no profile {name}; {near(name, names)}")
    if len(names) > 1:
        raise CliError(f"There are several profiles; name one: {', '.join(names)}")
    if not names:
        raise CliError(f"There is no {KIND} in this cluster; write one and kubectl apply it, see deploy/samples")
    return found[names[0]]


def named(body: Mapping[str, Any]) -> str:
    """Write a profile as ``-o name`` does, so that kubectl reads it."""
    return f"{KIND.lower()}.{GROUP}/{body['metadata']['name']}"


def console(*, error: bool = False) -> Console:
    """Where people read: colours on a terminal only, and never with NO_COLOR."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=width is not None)


def emit(form: str, document: Any, draw: Callable[[Console], None], names: Iterable[str] = ()) -> None:
    """Write the result.

    Args:
        form: One of `Format`.
        document: The result as JSON.
        draw: Writes it for people.
        names: Of the objects in it.
    """
    match form:
        case Format.JSON:
            click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        case Format.YAML:
            click.echo(to_yaml(document), nl=False)
        case Format.NAME:
            for name in names:
                click.echo(name)
        case _:
            draw(console())


def to_yaml(*documents: Any) -> str:
    """Write YAML as people expect it: in the order given, in blocks, without aliases."""
    plain = json.loads(json.dumps(documents))
    return str(yaml.safe_dump_all(plain, sort_keys=False, default_flow_style=False, allow_unicode=True, width=100))


def table(*titles: str, rows: Iterable[Sequence[str]] = ()) -> Table:
    """Lay out a table as kubectl does."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in titles:
        made.add_column(title, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def colour(word: str) -> str:
    """The colour in which a state is shown."""
    good = {"True", "Passed", "None", "Normal", "Corrected"}
    bad = {"False", "Failed", "RestartsServer", "ReplacesNodes", "Warning"}
    return "green" if word in good else "red" if word in bad else "yellow"


def ago(moment: str | datetime | None, now: datetime | None = None) -> str:
    """How long ago something was, in its largest unit as kubectl says it."""
    if not moment:
        return "unknown"
    then = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    seconds = max(int(((now or datetime.now(UTC)) - then).total_seconds()), 0)
    return next((f"{seconds // size}{unit}" for unit, size in _UNITS if seconds >= size), "0s")


def condition(body: Mapping[str, Any], kind: str) -> Json:
    """A condition of an object; empty if it has none."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((dict(each) for each in conditions if each["type"] == kind), {})


def ready(body: Mapping[str, Any]) -> tuple[str, str]:
    """Status and message of Ready; Unknown while it speaks of an earlier generation."""
    found = condition(body, "Ready")
    if not found:
        return "Unknown", "no status yet; does the operator run?"
    if found.get("observedGeneration") != body["metadata"].get("generation"):
        return "Unknown", "the operator has not looked at the present spec yet"
    return str(found["status"]), str(found["message"])


def confirmed(question: str, *, yes: bool) -> None:
    """Ask the user.

    Raises:
        CliError: There is nobody to ask.
        click.Abort: He says no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError("This asks first, and there is no terminal to ask on; say --yes")
    click.confirm(question, abort=True, err=True)


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """Show on standard error how far something is: a spinner on a terminal, else a line for each change."""
    at = console(error=True)
    if at.is_terminal:
        with at.status(what) as spinner:
            yield spinner.update
        return
    last = ""

    def say(text: str) -> None:
        nonlocal last
        if text != last:
            at.print(text)
        last = text

    say(what)
    yield say
