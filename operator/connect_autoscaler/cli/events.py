"""`events`: what the operator told of a profile, and Karpenter of its NodePools."""

from datetime import datetime
from typing import Final

import click
from rich.console import Console
from rich.text import Text

from connect_autoscaler.api.names import KIND
from connect_autoscaler.cli.cluster import EVENTS, Access, Json
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

_NAMESPACE: Final = "default"
"""Where events of objects without a namespace live."""


@click.command(cls=Verb)
@profile_argument
@click.option("--warnings", is_flag=True, help="Warnings only.")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
@cluster_options
def events(profile: str | None, form: str, kubeconfig: str | None, context: str | None, *, warnings: bool) -> None:
    """Show the events of a profile and of its NodePools.

    The latest comes last. Kubernetes keeps events for an hour, unless the
    cluster says otherwise.
    """
    with Access(kubeconfig, context).open() as cluster:
        body = choose(cluster, profile)
        wanted = {"type": "Warning"} if warnings else {}
        found: list[Json] = []
        for kind, name in subjects(body):
            query = ",".join(f"{k}={v}" for k, v in {"regarding.kind": kind, "regarding.name": name, **wanted}.items())
            found += cluster.list(EVENTS, _NAMESPACE, fieldSelector=query)
    document = sorted(map(brief, found), key=lambda each: datetime.fromisoformat(each["lastSeen"]))

    def draw(at: Console) -> None:
        if not document:
            at.print(f"{body['metadata']['name']}: no events.")
            return
        made = table("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
        for each in document:
            kind = Text(each["type"], colour(each["type"]))
            made.add_row(ago(each["lastSeen"]), kind, each["reason"], each["object"], each["message"])
        at.print(made)

    emit(form, document, draw)


def subjects(profile: Json) -> list[tuple[str, str]]:
    """Kind and name of everything whose events tell of a profile."""
    spec = profile["spec"]
    pools = (spec.get("serverPool", {}), spec.get("contentPool", {}), *spec.get("additionalContentPools", ()))
    named = [("NodePool", str(pool["name"])) for pool in pools if "name" in pool]
    return [(KIND, str(profile["metadata"]["name"])), *named]


def brief(event: Json) -> Json:
    """An event in the words of this command."""
    regarding = event.get("regarding") or {}
    seen = (event.get("series") or {}).get("lastObservedTime") or event.get("deprecatedLastTimestamp")
    return {
        "lastSeen": seen or event.get("eventTime") or event["metadata"]["creationTimestamp"],
        "type": event.get("type", "Normal"),
        "reason": event.get("reason", ""),
        "object": f"{regarding.get('kind')}/{regarding.get('name')}",
        "message": event.get("note", ""),
    }
