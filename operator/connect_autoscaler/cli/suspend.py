"""`suspend` and `resume`: spec.suspend, by the user's own hand."""

from typing import Final

import click

from connect_autoscaler.cli.cluster import PROFILES, Access, Json
from connect_autoscaler.cli.reconcile import STOPPED
from connect_autoscaler.cli.verb import Verb, choose, cluster_options, condition, profile_argument, timeout_option
from connect_autoscaler.cli.waiting import until

_GIT: Final = (
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
    ("meta.helm.sh/release-name", "Helm"),
)


@click.command(cls=Verb)
@profile_argument
@click.option("--wait", is_flag=True, help="Wait until the operator has taken note.")
@timeout_option(60)
@cluster_options
def suspend(profile: str | None, timeout: float, kubeconfig: str | None, context: str | None, *, wait: bool) -> None:
    """Have the operator write nothing but status.

    Sets spec.suspend: true as field manager connect-autoscaler-cli.

    Exit code: 0 done, 1 not in time (with --wait), 2 an error.
    """
    _set(Access(kubeconfig, context), profile, timeout, wanted=True, wait=wait)


@click.command(cls=Verb)
@profile_argument
@click.option("--wait", is_flag=True, help="Wait until the operator has taken note.")
@timeout_option(60)
@cluster_options
def resume(profile: str | None, timeout: float, kubeconfig: str | None, context: str | None, *, wait: bool) -> None:
    """Have a suspended operator go on.

    Sets spec.suspend: false as field manager connect-autoscaler-cli. What was
    changed meanwhile is put back at once, or planned; see plan first.

    Exit code: 0 done, 1 not in time (with --wait), 2 an error.
    """
    _set(Access(kubeconfig, context), profile, timeout, wanted=False, wait=wait)


def _set(access: Access, profile: str | None, timeout: float, *, wanted: bool, wait: bool) -> None:
    word = "suspended" if wanted else "resumed"
    with access.open() as cluster:
        body = choose(cluster, profile)
        name = body["metadata"]["name"]
        if body["spec"].get("suspend", False) == wanted:
            click.echo(f"{name}: {'suspended already' if wanted else 'not suspended'}")
        else:
            cluster.merge(PROFILES, name, {"spec": {"suspend": wanted}})
            click.echo(f"{name}: {word}")
            if source := _source(body):
                click.echo(f"{source} writes this profile and may undo that; change it there, too.", err=True)
        if wait:
            until(cluster, name, lambda body: _noted(body, wanted=wanted), f"{name} is {word}", timeout, STOPPED)


def _noted(body: Json | None, *, wanted: bool) -> bool:
    if body is None:
        return True
    seen = (body.get("status") or {}).get("observedGeneration") == body["metadata"]["generation"]
    return seen and bool(condition(body, "Suspended")) == wanted


def _source(body: Json) -> str | None:
    meta = body["metadata"]
    marks = {**meta.get("labels", {}), **meta.get("annotations", {})}
    return next((tool for key, tool in _GIT if key in marks), None)
