"""`version`: of this program, of the operator, of Karpenter and of Kubernetes."""

from typing import Final

import click
from rich.console import Console

from connect_autoscaler import __version__
from connect_autoscaler.cli.cluster import DEPLOYMENTS, Access, Cluster, Json
from connect_autoscaler.cli.errors import ApiError, CliError
from connect_autoscaler.cli.verb import Format, Verb, cluster_options, console, emit, output_option, table

LABEL: Final = "app.kubernetes.io/name"
OPERATOR: Final = "connect-autoscaler"
KARPENTER: Final = "karpenter"
SELECTOR: Final = f"{LABEL}={OPERATOR}"
"""Of the operator's Deployment and pods."""


@click.command(cls=Verb)
@click.option("--client", is_flag=True, help="Of this program only; needs no cluster.")
@output_option(Format.TABLE, Format.JSON, Format.YAML)
@cluster_options
@click.pass_context
def version(ctx: click.Context, form: str, kubeconfig: str | None, context: str | None, *, client: bool) -> None:
    """Show versions of this program and of the cluster.

    Exit code: 0 done, 2 the cluster does not answer.
    """
    document: Json = {"client": __version__}
    failure: CliError | None = None
    if not client:
        try:
            with Access(kubeconfig, context).open() as cluster:
                document |= running(cluster)
        except CliError as error:
            failure = error

    def draw(at: Console) -> None:
        at.print(table("WHAT", "VERSION", rows=[(key, value or "not found") for key, value in document.items()]))

    emit(form, document, draw)
    if failure is not None:
        console(error=True).print(failure.message)
        ctx.exit(failure.exit_code)


def running(cluster: Cluster) -> Json:
    """Versions of what runs: images of Deployments, by the usual label; None: not found, or not to be seen."""
    return {
        "operator": image(cluster, OPERATOR),
        "karpenter": image(cluster, KARPENTER),
        "kubernetes": cluster.version(),
    }


def image(cluster: Cluster, name: str) -> str | None:
    """Images of a Deployment found by the label ``app.kubernetes.io/name``."""
    try:
        found = cluster.list(DEPLOYMENTS, labelSelector=f"{LABEL}={name}")
    except ApiError:
        return None
    images = [c["image"] for body in found for c in body["spec"]["template"]["spec"]["containers"][:1]]
    return ", ".join(sorted(set(images))) or None
