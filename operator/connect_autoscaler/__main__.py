"""Command line of the operator."""

import asyncio
import logging

import click
import kopf
from kubernetes.aio.config import ConfigException

from connect_autoscaler import __version__
from connect_autoscaler.runner import Options, run

_LOG_FORMATS = {"plain": kopf.LogFormat.FULL, "json": kopf.LogFormat.JSON}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CONNECT_AUTOSCALER"})
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Keep Karpenter NodePools in the shape that protects Posit Connect."""


@main.command("run")
@click.option(
    "--kubeconfig",
    envvar=["CONNECT_AUTOSCALER_KUBECONFIG"],
    type=click.Path(exists=True, dir_okay=False),
    help="Kubeconfig file. Default: the pod's ServiceAccount, else $KUBECONFIG or ~/.kube/config.",
)
@click.option(
    "--context", envvar=["CONNECT_AUTOSCALER_CONTEXT"], help="Context of the kubeconfig. Default: its current one."
)
@click.option(
    "--liveness-port",
    envvar=["CONNECT_AUTOSCALER_LIVENESS_PORT"],
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of /healthz and /readyz. 0: any free one, on loopback.",
)
@click.option(
    "--log-format",
    envvar=["CONNECT_AUTOSCALER_LOG_FORMAT"],
    type=click.Choice(list(_LOG_FORMATS)),
    default="plain",
    show_default=True,
    help="Form of log lines.",
)
@click.option("--verbose", envvar=["CONNECT_AUTOSCALER_VERBOSE"], is_flag=True, help="Log details.")
def run_operator(
    kubeconfig: str | None, context: str | None, liveness_port: int, log_format: str, *, verbose: bool
) -> None:
    """Run the operator until SIGTERM or SIGINT. Every option can be set as CONNECT_AUTOSCALER_<OPTION>."""
    kopf.configure(verbose=verbose, log_format=_LOG_FORMATS[log_format])
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # else a line for every event of every object
    try:
        asyncio.run(run(Options(kubeconfig, context, liveness_port)))
    except ConfigException as error:
        raise click.ClickException(
            f"no cluster to work on: {error}; name one with --kubeconfig or $KUBECONFIG"
        ) from error
    except OSError as error:
        raise click.ClickException(f"cannot serve probes: {error}") from error


if __name__ == "__main__":
    main(prog_name="connect-autoscaler")
