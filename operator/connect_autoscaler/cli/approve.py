"""`approve`: release exactly the plan that status shows."""

from typing import Final

import click

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.names import ANNOTATION_APPROVE
from connect_autoscaler.cli.actions import actions
from connect_autoscaler.cli.cluster import PROFILES, Access, Json
from connect_autoscaler.cli.errors import ApiError, Refusal
from connect_autoscaler.cli.reconcile import STOPPED
from connect_autoscaler.cli.verb import (
    Verb,
    choose,
    cluster_options,
    confirmed,
    console,
    profile_argument,
    timeout_option,
)
from connect_autoscaler.cli.waiting import settled, until_ready

_NO_USE: Final[dict[str, str]] = {
    Reason.PLAN_MODE: "spec.mode is Plan; set Enforce first",
    Reason.SUSPEND_REQUESTED: "spec.suspend is true; resume it first",
    Reason.WAITING_FOR_NODE_POOLS: "the NodePools are not Ready yet; wait for them",
}
"""What an approval does not change."""
MOVED: Final = frozenset({409, 422})
"""HTTP statuses of a guarded patch whose object is not any more what was shown."""


@click.command(cls=Verb)
@profile_argument
@click.option("--digest", help="Approve only if the plan has this digest: the one that was reviewed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Wait until it is done; exit with 1 unless Ready then.")
@timeout_option(1200)
@cluster_options
def approve(
    profile: str | None,
    digest: str | None,
    timeout: float,
    kubeconfig: str | None,
    context: str | None,
    *,
    yes: bool,
    wait: bool,
) -> None:
    """Show the plan that waits, and approve just that.

    Another plan has another digest: should it change before you answer, nothing
    is approved.

    Exit code: 0 approved, 1 there is nothing to approve, or the plan has
    changed, 2 an error.
    """
    with Access(kubeconfig, context).open() as cluster:
        body = choose(cluster, profile)
        name = body["metadata"]["name"]
        shown = waiting(body, digest)
        console().print(actions((body["status"]).get("plan", [])))
        confirmed(f"Approve {shown} of {name}?", yes=yes)
        annotations = body["metadata"].get("annotations")
        key = ANNOTATION_APPROVE.replace("~", "~0").replace("/", "~1")
        add: Json = {"op": "add", "path": f"/metadata/annotations/{key}", "value": shown}
        if not annotations:
            add = {"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION_APPROVE: shown}}
        guard = [
            {"op": "test", "path": "/metadata/uid", "value": body["metadata"]["uid"]},
            {"op": "test", "path": "/status/planDigest", "value": shown},
        ]
        try:
            cluster.patch(PROFILES, name, [*guard, add])
        except ApiError as error:
            if error.code in MOVED:
                raise Refusal(f"The plan of {name} has changed meanwhile; look at it again with plan") from error
            raise
        click.echo(f"{name}: approved {shown}")
        if wait:
            what = f"{name} carries it out"
            until_ready(cluster, name, lambda b: _done(b, shown), what, timeout, STOPPED, gone="True")


def waiting(body: Json, digest: str | None = None) -> str:
    """The digest of the plan that waits for approval.

    Args:
        body: The profile.
        digest: The one that was reviewed, if any.

    Raises:
        Refusal: Nothing waits, approval would not help, or it is not the plan that was reviewed.
    """
    name, status = body["metadata"]["name"], body.get("status") or {}
    if status.get("observedGeneration") != body["metadata"]["generation"]:
        raise Refusal(f"The operator has not looked at the present spec of {name} yet; try again in a moment")
    shown = status.get("planDigest")
    if shown is None:
        raise Refusal(f"Nothing of {name} waits for approval")
    if digest not in {None, shown}:
        raise Refusal(f"The plan of {name} has digest {shown}, not {digest}; look at it again with plan")
    reasons = {str(each.get("reason")) for each in status.get("plan", ())}
    if reasons and reasons <= set(_NO_USE):
        raise Refusal(f"The plan of {name} does not wait for approval: {_NO_USE[min(reasons)]}")
    return str(shown)


def _done(body: Json | None, shown: str) -> bool:
    return settled(body) and (body is None or (body.get("status") or {}).get("planDigest") != shown)
