"""`plan`: what would be done now, or by a profile that is not applied yet."""

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from connect_autoscaler.api.conditions import Problem
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.cli.actions import actions
from connect_autoscaler.cli.cluster import PROFILES, Access, Cluster, Json
from connect_autoscaler.cli.errors import FAILED, NO, ApiError, CliError
from connect_autoscaler.cli.files import ProfileFile
from connect_autoscaler.cli.preview import COSTS, PlanningVerb, World, preview, problems, rows
from connect_autoscaler.cli.verb import (
    Format,
    choose,
    cluster_options,
    colour,
    console,
    emit,
    output_option,
    profile_argument,
)
from connect_autoscaler.core.model import Plan


@click.command(cls=PlanningVerb)
@profile_argument
@click.option("-f", "--filename", metavar="FILE", help="Plan for the profile in this file (-: standard input).")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
@cluster_options
@click.pass_context
def plan(
    ctx: click.Context,
    profile: str | None,
    filename: str | None,
    form: str,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Show what the operator would do, and its cost.

    The operator's own decision on what the cluster is at this moment, the
    greatest cost first; nothing is written. With -f the profile in the file stands in for the live one, as
    the API server would store it.

    An upgrade of the release is shown before the operator has proven by a dry
    run of Helm that the chart renders it.

    Exit code: 0 nothing to do, 1 there are changes, 2 an error, or something
    is in the way.
    """
    if profile and filename:
        raise click.UsageError("give either PROFILE or --filename, not both")
    access = Access(kubeconfig, context)
    with access.open() as cluster:
        subject = applied(cluster, ProfileFile.read(filename)) if filename else Profile.of(choose(cluster, profile))
        world = World.of(cluster, subject)
    _, decided = asyncio.run(preview(access, world))
    planned, found = rows(decided), problems(decided)
    document = _document(subject, decided, planned, found)
    emit(form, document, lambda at: draw(at, document))
    for problem in found:
        console(error=True).print(Text.assemble((problem.reason, "red"), f": {problem.message}"))
    ctx.exit(FAILED if found else NO if planned else 0)


def applied(cluster: Cluster, file: ProfileFile) -> Profile:
    """The profile as it would be if the file were applied: checked and completed by the API server, and not stored.

    Who may not write profiles gets this version's own rules and defaults.

    Raises:
        CliError: It is refused, with the line.
    """
    name = file.body["metadata"]["name"]
    live = cluster.find(PROFILES, name)
    meta = file.body["metadata"]
    if live is not None:
        annotations = {**live["metadata"].get("annotations", {}), **meta.get("annotations", {})}
        body = {**live, "spec": file.body["spec"], "metadata": {**live["metadata"], "annotations": annotations}}
    else:
        body = {key: value for key, value in file.body.items() if key != "status"}
    try:
        stored = cluster.rehearse(PROFILES, body)
    except ApiError as error:
        if error.code == HTTPStatus.FORBIDDEN:
            console(error=True).print(f"You may not write profiles, so {file.name} is checked by this version's rules.")
            return file.profile()
        if error.code in {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.BAD_REQUEST}:
            file.profile()  # says the same with the line, or that a field does not exist
            raise CliError(file.refused(error.causes) if error.causes else f"{file.name}: {error.message}") from error
        raise
    defaults = {"uid": "", "generation": 1, "creationTimestamp": datetime.now(UTC).isoformat()}
    stored["metadata"] = {**defaults, **stored["metadata"]}
    stored["metadata"]["resourceVersion"] = stored["metadata"].get("resourceVersion") or "0"
    return Profile.of({**stored, "status": (live or {}).get("status", {})})


def _document(profile: Profile, decided: Plan, planned: list[Json], found: list[Problem]) -> Json:
    made: Json = {
        "profile": profile.name,
        "summary": {cost: sum(row["disruption"] == cost for row in planned) for cost in COSTS},
        "actions": planned,
        "problems": [{"reason": each.reason.value, "message": each.message} for each in found],
        "reported": sum(
            each.action in {"Reported", "Ignored"}
            for each in (
                *(finding for pool in decided.pools for finding in pool.findings),
                *(decided.release.findings if decided.release else ()),
            )
        ),
    }
    if decided.digest:
        made["planDigest"] = decided.digest
    if decided.release:
        made["release"] = {"reason": decided.release.verdict.reason.value, "message": decided.release.verdict.message}
    return made


def draw(at: Console, document: Json) -> None:
    """Write a plan for people."""
    planned: list[Json] = document["actions"]
    if not planned:
        at.print(f"{document['profile']}: nothing to do." if not document["problems"] else "Nothing is done.")
    else:
        counts = [(f"{number} {cost}", colour(cost)) for cost, number in document["summary"].items() if number]
        parts: list[Any] = [f"{document['profile']}: "]
        for text in counts:
            parts += [text, ", "]
        at.print(Text.assemble(*parts[:-1]))
        at.print(actions(planned))
    if document.get("reported"):
        at.print(f"{document['reported']} differences are reported and stay; see drift.")
    if (release := document.get("release")) and not document["problems"]:
        at.print(f"Release: {release['message']}")
    if digest := document.get("planDigest"):
        at.print(f"What waits has digest {digest}.")
