"""The reference of the command line, held against the command line."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import click

from connect_autoscaler.__main__ import main
from connect_autoscaler.cli.errors import FAILED, NO
from connect_autoscaler.cli.group import NAME, VERBS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
_HEAD = f"""\
# Command line

`{NAME} VERB`, or `kubectl {NAME} VERB`: kubectl finds the program `kubectl-connect_autoscaler`
on the PATH. `run` is the operator itself: [its options](options.md).

- It works with your rights, and writes only by `approve`, `reconcile`, `suspend`, `resume` and `uninstall`, as field
  manager `connect-autoscaler-cli`; what `uninstall` does in the operator's place is written as `connect-autoscaler`.
- `PROFILE` may be left out where there is only one.
- Results go to standard output, progress and errors to standard error. Colours are for terminals only, and never with
  `NO_COLOR`.
- Exit codes: 0 yes or done; {NO} no: something failed, differs, or did not come to pass in time; {FAILED} an
  error: a wrong option, a cluster that does not answer, a right that is missing. Each verb says what 0 and
  {NO} mean for it.
- Options can be set as variables: `--kubeconfig` and `--context` as `CONNECT_AUTOSCALER_KUBECONFIG` and
  `CONNECT_AUTOSCALER_CONTEXT`.
"""


def page() -> str:
    context = click.Context(main, info_name=NAME)
    return _HEAD + "".join("".join(_section(context, name)) for name in sorted(VERBS))


def _section(parent: click.Context, name: str) -> Iterator[str]:
    command = main.get_command(parent, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n## {name}\n\n```console\n$ {NAME} {name} {usage}\n```\n\n"
    yield _prose(inspect.cleandoc(command.help or ""))
    rows = [record for each in command.get_params(context) if (record := each.get_help_record(context)) and record[1]]
    yield "| option | |\n|---|---|\n"
    for option, text in rows:
        if "--help" not in option:
            yield f"| `{_cell(option)}` | {_cell(text)} |\n"


def _prose(text: str) -> str:
    blocks = text.split("\n\n")
    return "".join(f"```\n{block[2:]}\n```\n" if block.startswith("\b\n") else f"{block}\n\n" for block in blocks)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def test_page_of_verbs_is_the_command_line() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "UPDATE_GOLDEN=1 pytest tests/unit/test_cli_docs.py rewrites it"
