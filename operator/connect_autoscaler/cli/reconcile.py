"""`reconcile`: have the operator look now."""

from datetime import UTC, datetime

import click

from connect_autoscaler.api.clipping import clip
from connect_autoscaler.api.names import ANNOTATION_REQUESTED_AT
from connect_autoscaler.cli.cluster import PROFILES, Access, Cluster, Json
from connect_autoscaler.cli.verb import Verb, choose, cluster_options, profile_argument, timeout_option
from connect_autoscaler.cli.waiting import settled, until_ready

STOPPED = "does the operator run? check says"


@click.command(cls=Verb)
@profile_argument
@click.option("--wait", is_flag=True, help="Wait until it is done; exit with 1 unless Ready then.")
@timeout_option(120)
@cluster_options
def reconcile(profile: str | None, timeout: float, kubeconfig: str | None, context: str | None, *, wait: bool) -> None:
    """Have the operator look at a profile now.

    It also tries again what it gave up.

    Exit code: 0 done, 1 not in time or not Ready (with --wait), 2 an error.
    """
    with Access(kubeconfig, context).open() as cluster:
        name = choose(cluster, profile)["metadata"]["name"]
        stamp = request(cluster, name)
        click.echo(f"{name}: asked to reconcile")
        if wait:
            what = f"{name} reconciles"
            until_ready(cluster, name, lambda body: _done(body, stamp), what, timeout, STOPPED, gone="False")


def request(cluster: Cluster, name: str) -> str:
    """Ask for a pass; gives the word by which the operator says that it has been."""
    stamp = datetime.now(UTC).isoformat()
    cluster.merge(PROFILES, name, {"metadata": {"annotations": {ANNOTATION_REQUESTED_AT: stamp}}})
    return stamp


def handled(body: Json | None, stamp: str) -> bool:
    """Whether a pass that was asked for has been."""
    return body is None or (body.get("status") or {}).get("lastHandledReconcileAt") == clip(stamp, 256)


def _done(body: Json | None, stamp: str) -> bool:
    return handled(body, stamp) and settled(body)
