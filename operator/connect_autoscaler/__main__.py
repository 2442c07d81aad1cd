"""Command line of the operator."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
import kopf
from kubernetes.aio.config import ConfigException

from connect_autoscaler import __version__
from connect_autoscaler.cli.group import LazyGroup
from connect_autoscaler.core.kube import own_namespace
from connect_autoscaler.core.lease import LeaseLostError
from connect_autoscaler.runner import DEFAULT_SOURCE, Options, run

F = TypeVar("F", bound=Callable[..., Any])
_LOG_FORMATS = {"plain": kopf.LogFormat.FULL, "json": kopf.LogFormat.JSON}


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CONNECT_AUTOSCALER"},
)
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Keep Karpenter NodePools in the shape that protects Posit Connect."""


def _option(flag: str, **settings: Any) -> Callable[[F], F]:
    """An option that can be set as CONNECT_AUTOSCALER_<OPTION>, too."""
    variable = flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, envvar=[f"CONNECT_AUTOSCALER_{variable}"], **settings)


@main.command("run")
@_option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False),
    help="Kubeconfig file. Default: the pod's ServiceAccount, else $KUBECONFIG or ~/.kube/config.",
)
@_option("--context", help="Context of the kubeconfig. Default: its current one.")
@_option(
    "--liveness-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of /healthz and /readyz. 0: any free one, on loopback.",
)
@_option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of /metrics. 0: any free one, on loopback.",
)
@_option(
    "--log-format",
    type=click.Choice(list(_LOG_FORMATS)),
    default="plain",
    show_default=True,
    help="Form of log lines.",
)
@_option(
    "--helm",
    default="helm",
    show_default=True,
    help="The helm 4 binary: a path, or a name on the PATH.",
)
@_option(
    "--helm-grace",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Seconds that an upgrade under way has to finish on SIGTERM, before it is rolled back.",
)
@_option(
    "--chart-dir",
    type=click.Path(),
    help="Folder of charts for spec.release.chart.path.",
)
@_option(
    "--chart-sources",
    default=DEFAULT_SOURCE,
    show_default=True,
    help="Repositories (https://...) and registries (oci://...) that profiles may name, separated by commas; the first "
    "one is the default.",
)
@_option(
    "--release-namespaces",
    help="Namespaces whose releases are served, separated by commas. Default: all that the operator's rights allow.",
)
@_option(
    "--require-service-account",
    is_flag=True,
    help="Refuse profiles that name no spec.release.serviceAccountName to impersonate.",
)
@_option(
    "--leader-elect",
    is_flag=True,
    help="Of several replicas one works, while it holds a Lease; the others stand by.",
)
@_option(
    "--namespace",
    help="Namespace of the Lease. Default: that of the pod's ServiceAccount.",
)
@_option("--verbose", is_flag=True, help="Log details.")
def run_operator(log_format: str, *, verbose: bool, **options: Any) -> None:
    """Run the operator until SIGTERM or SIGINT. Every option can be set as CONNECT_AUTOSCALER_<OPTION>."""
    kopf.configure(verbose=verbose, log_format=_LOG_FORMATS[log_format])
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # else a line for every event of every object
    lists = {name: _words(options[name]) for name in ("chart_sources", "release_namespaces")}
    options["namespace"] = options["namespace"] or own_namespace()
    if options["leader_elect"] and not options["namespace"]:
        raise click.UsageError(
            "--leader-elect needs a namespace for its Lease, and outside of a pod there is no default: "
            "give --namespace or CONNECT_AUTOSCALER_NAMESPACE"
        )
    try:
        asyncio.run(run(Options(**{**options, **lists})))
    except LeaseLostError:
        os._exit(1)  # the log has said so, and nothing may hold up the end
    except ConfigException as error:
        raise click.ClickException(
            f"no cluster to work on: {error}; name one with --kubeconfig or $KUBECONFIG"
        ) from error
    except OSError as error:
        raise click.ClickException(f"cannot serve probes and metrics: {error}") from error


def _words(text: str | None) -> tuple[str, ...] | None:
    """Read a list; None stays None: all."""
    return None if text is None else tuple(word for word in text.replace(",", " ").split() if word)


if __name__ == "__main__":
    main(prog_name="connect-autoscaler")
