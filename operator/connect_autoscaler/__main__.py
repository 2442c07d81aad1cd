"""Command line of the operator."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from connect_autoscaler import __version__
from connect_autoscaler.api.names import VENDOR_REPOSITORY
from connect_autoscaler.cli.group import LazyGroup

F = TypeVar("F", bound=Callable[..., Any])


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
    type=click.Choice(["plain", "json"]),
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
    default=VENDOR_REPOSITORY,
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
def run_operator(**options: Any) -> None:
    """Run the operator until SIGTERM or SIGINT. Every option can be set as CONNECT_AUTOSCALER_<OPTION>."""
    from connect_autoscaler.runner import start  # noqa: PLC0415 - Kopf comes with it: a second that no other verb needs

    start(**options)


if __name__ == "__main__":
    main(prog_name="connect-autoscaler")
