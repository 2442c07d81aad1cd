"""`render` and `export`: what a profile comes to, without a cluster."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import yaml

from connect_autoscaler.api.names import ANNOTATION_PROFILE_UID
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.cli.errors import CliError
from connect_autoscaler.cli.files import ProfileFile
from connect_autoscaler.cli.verb import Format, Verb, emit, output_option, to_yaml
from connect_autoscaler.nodepools.karpenter import Karpenter
from connect_autoscaler.nodepools.render import contradictions, unknown_features
from connect_autoscaler.nodepools.render import render as render_pool
from connect_autoscaler.release.export import exported
from connect_autoscaler.release.merge import merge
from connect_autoscaler.release.overlay import overlay
from connect_autoscaler.release.refusals import CHART
from connect_autoscaler.release.values import checked

Json = dict[str, Any]
_OLDEST: Final = Karpenter(
    operators=frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"}),
    consolidation_policies=frozenset({"WhenEmpty", "WhenEmptyOrUnderutilized"}),
    budget_reasons=frozenset({"Underutilized", "Empty", "Drifted"}),
    atomic_labels=True,
)
_BALANCED: Final = replace(_OLDEST, consolidation_policies=_OLDEST.consolidation_policies | {"Balanced"})
KARPENTERS: Final = {
    "1.13": _OLDEST,
    "1.14": _BALANCED,
    "1.15": replace(_BALANCED, budget_reasons=_BALANCED.budget_reasons | {"Unhealthy"}),
}
"""What each version can do; with a cluster at hand its CRD says so."""
_NEWEST: Final = list(KARPENTERS)[-1]

_file = click.option("-f", "--filename", metavar="FILE", required=True, help="The profile's file (-: standard input).")


@click.command(cls=Verb)
@_file
@click.option(
    "--karpenter", type=click.Choice(list(KARPENTERS)), default=_NEWEST, show_default=True, help="Version to write for."
)
@output_option(Format.YAML, Format.JSON, Format.NAME)
def render(filename: str, karpenter: str, form: str) -> None:
    """Write the NodePools of a profile in a file. Needs no cluster.

    The operator also marks them as the profile's own.

    Exit code: 0 done, 2 an error.
    """
    profile = ProfileFile.read(filename).profile()
    pools = [render_pool(profile, pool, KARPENTERS[karpenter]) for pool in profile.pools if pool.managed]
    wrong = [
        message
        for pool in profile.pools
        for message in (*unknown_features(pool, KARPENTERS[karpenter]), *contradictions(pool))
    ]
    if wrong:
        raise CliError("; ".join(wrong))
    for body in pools:
        del body["metadata"]["annotations"][ANNOTATION_PROFILE_UID]  # there is no profile yet that it could name
        if not body["metadata"]["annotations"]:
            del body["metadata"]["annotations"]
    if form == Format.YAML:
        click.echo(to_yaml(*pools), nl=False)
    else:
        document = {"apiVersion": "v1", "kind": "List", "items": pools}
        emit(form, document, lambda _: None, (f"nodepool.karpenter.sh/{body['metadata']['name']}" for body in pools))


@click.command(cls=Verb)
@_file
@click.option(
    "--values",
    "values_file",
    type=click.Path(exists=True, dir_okay=False),
    help="The release's own values: lists then hold its elements, too.",
)
@output_option(Format.YAML, Format.JSON)
def export(filename: str, values_file: str | None, form: str) -> None:
    """Write the Helm values of a profile in a file. Needs no cluster.

    For helm upgrade -f as the last file: Helm replaces lists whole, so name the
    release's own values with --values if it has tolerations or spread
    constraints of its own.

    Exit code: 0 done, 2 an error.
    """
    profile = ProfileFile.read(filename).profile()
    if profile.spec.release is None:
        raise CliError("The profile has no spec.release, so there are no values; render writes its NodePools")
    if external := [pool.name for pool in profile.pools if not pool.managed]:
        click.echo(f"Taints of External NodePools are not known here: {', '.join(external)}.", err=True)
    wanted = overlay(profile, *_taints(profile), _labels(profile.spec.release.name))
    if values_file:
        merged = merge(_values(values_file), {}, {}, wanted, {})
        if wrong := [each.pointer for each in merged.refused] + list(merged.malformed):
            raise CliError(f"{values_file} makes the overlay impossible at {', '.join(wrong)}; change it there")
        wanted = exported(merged.values, wanted)
    click.echo(to_yaml(wanted), nl=False) if form == Format.YAML else emit(form, wanted, lambda _: None)


def _taints(profile: Profile) -> tuple[list[Json], list[Json]]:
    """Templates of the NodePools of servers and of content, which carry the taints."""
    bodies = [(pool, render_pool(profile, pool, KARPENTERS[_NEWEST])) for pool in profile.pools if pool.managed]
    found: dict[str, list[Json]] = {"Server": [], "Content": []}
    for pool, body in bodies:
        found[pool.role] += body["spec"]["template"]["spec"].get("taints", [])
    return found["Server"], found["Content"]


def _labels(release: str) -> dict[str, str]:
    """Labels by which the chart's Deployment selects its pods, unless names are overridden."""
    return {"app.kubernetes.io/name": CHART, "app.kubernetes.io/instance": release}


def _values(path: str) -> Json:
    try:
        return checked(yaml.safe_load(Path(path).read_text()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise CliError(f"{path}{f', line {mark.line + 1}' if mark else ''} is no YAML") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise CliError(f"{path} must be a map of Helm values, nested 100 levels deep at most") from error
