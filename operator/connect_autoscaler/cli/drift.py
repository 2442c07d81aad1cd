"""`drift`: which field differs, how, by whom, and since when."""

import click
from rich.console import Console
from rich.text import Text

from connect_autoscaler.cli.cluster import Access
from connect_autoscaler.cli.errors import NO
from connect_autoscaler.cli.verb import (
    Format,
    Verb,
    ago,
    choose,
    cluster_options,
    colour,
    emit,
    output_option,
    profile_argument,
    table,
)


@click.command(cls=Verb)
@profile_argument
@click.option("--exit-code", is_flag=True, help="Exit with 1 if something differs now.")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
@cluster_options
@click.pass_context
def drift(
    ctx: click.Context, profile: str | None, form: str, kubeconfig: str | None, context: str | None, *, exit_code: bool
) -> None:
    """Show which fields differ, or did and were put back.

    Exit code: 0 done, 1 something differs (with --exit-code), 2 an error.
    """
    with Access(kubeconfig, context).open() as cluster:
        body = choose(cluster, profile)
    found = (body.get("status") or {}).get("drift") or {"total": 0, "items": []}
    items = found.get("items", [])
    open_items = [each for each in items if each["action"] != "Corrected"]

    def draw(at: Console) -> None:
        if not items:
            at.print(f"{body['metadata']['name']}: nothing has drifted.")
            return
        made = table("FIELD", "WANTED", "LIVE", "WHO", "SINCE", "WHAT BECOMES OF IT")
        for each in items:
            since = each.get("changedAt") or each.get("firstSeen")
            fate = each["action"] + (f" ({each['reason']})" if "reason" in each else "")
            made.add_row(
                f"{each['target']}{each['path']}",
                each.get("expected", "nothing"),
                each.get("actual", "nothing"),
                each.get("manager", "unknown"),
                f"{ago(since)} ago" if since else "unknown",
                Text(fate, colour(each["action"])),
            )
        at.print(made)
        if (more := found.get("total", 0) - len(items)) > 0:
            at.print(f"and {more} more")

    emit(form, found, draw)
    if exit_code and open_items:
        ctx.exit(NO)
