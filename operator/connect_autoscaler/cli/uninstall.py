"""`uninstall`: end the operator's care of profiles, NodePools and NodeClaims, whether it still runs or not.

While it runs it does all of that itself: each profile is deleted and waited for. When it does not answer any more, its
own plan of a farewell is carried out from here; NodePools are then retained, and the release keeps its values.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import click

from connect_autoscaler.api.names import FINALIZER_PROTECT, LABEL_PROFILE
from connect_autoscaler.api.policies import DeletionPolicy
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import PoolDeletion, ReleaseDeletion
from connect_autoscaler.cli.actions import actions
from connect_autoscaler.cli.cluster import DEPLOYMENTS, NODE_POOLS, PROFILES, Access, Cluster, Json
from connect_autoscaler.cli.errors import CliError, Refusal, near
from connect_autoscaler.cli.preview import PlanningVerb, World, context_of, gathering
from connect_autoscaler.cli.reconcile import handled, request
from connect_autoscaler.cli.verb import cluster_options, confirmed, console, progress, timeout_option
from connect_autoscaler.cli.version import SELECTOR
from connect_autoscaler.cli.waiting import until
from connect_autoscaler.core import model
from connect_autoscaler.core.act import Actor
from connect_autoscaler.core.context import Context
from connect_autoscaler.core.gather import Gatherer
from connect_autoscaler.core.plan import plan

_POLL: Final = 0.5
_ROUNDS: Final = 5
"""Passes that one farewell may take: pools that are being deleted are put back first."""
_NEXT: Final = "What is left: kubectl delete -k deploy/release and kubectl delete -k deploy/"


@dataclass(frozen=True)
class Estate:
    """What there is to let go of."""

    profiles: tuple[Json, ...]
    pools: tuple[Json, ...]
    """Marked or protected NodePools of profiles that do not exist any more."""

    @classmethod
    def of(cls, cluster: Cluster, names: tuple[str, ...]) -> "Estate":
        """Look.

        Raises:
            CliError: There is no profile of a name.
        """
        live = {each["metadata"]["name"]: each for each in cluster.list(PROFILES)} if cluster.knows(PROFILES) else {}
        for name in names:
            if name not in live:
                raise CliError(f"There is no profile {name}; {near(name, sorted(live))}")
        pools = cluster.list(NODE_POOLS) if cluster.knows(NODE_POOLS) else []
        orphans = [] if names else [each for each in pools if _marked(each) and _profile_of(each) not in live]
        return cls(tuple(live[name] for name in names or sorted(live)), tuple(orphans))

    @property
    def rows(self) -> list[Json]:
        """What would be done, as `plan` lists it."""
        made = []
        for body in self.profiles:
            name, spec = body["metadata"]["name"], body["spec"]
            policy, release = spec.get("deletionPolicy", {}), spec.get("release")
            deletes, restores = policy.get("nodePools") == "Delete", policy.get("release") == "Restore"
            for pool in (spec["serverPool"], spec["contentPool"], *spec.get("additionalContentPools", ())):
                if pool.get("management") != "External":
                    cost = "ReplacesNodes" if deletes else "None"
                    made.append(_row("Delete" if deletes else "Release", f"NodePool/{pool['name']}", cost))
            if release and restores:
                made.append(_row("Restore", f"Release/{release['namespace']}/{release['name']}", "RestartsServer"))
            made.append(_row("Delete", f"Profile/{name}", "None"))
        for pool in self.pools:
            going = "deletionTimestamp" in pool["metadata"]
            made.append(_row("Release", f"NodePool/{pool['metadata']['name']}", "ReplacesNodes" if going else "None"))
        return made


@click.command(cls=PlanningVerb)
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--keep-release", is_flag=True, help="Without an operator, leave values that were to be restored.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=15,
    show_default=True,
    metavar="SECONDS",
    help="When no answer means that the operator is gone.",
)
@timeout_option(1200)
@cluster_options
def uninstall(
    profiles: tuple[str, ...],
    patience: float,
    timeout: float,
    kubeconfig: str | None,
    context: str | None,
    *,
    yes: bool,
    dry_run: bool,
    keep_release: bool,
) -> None:
    """Let go of profiles, NodePools and NodeClaims.

    In the order that loses nothing: values of the release that are to be
    restored, references of NodeClaims, marks and finalizers of NodePools, the
    profile. All profiles, unless some are named; then also NodePools that a
    removed profile left protected.

    The operator does it while it runs. If it is gone, this command does, with
    your rights: NodePools are then always retained, and the release keeps its
    values. The operator itself is for kubectl delete -k deploy/ afterwards.

    Exit code: 0 done, 1 not in time, or not without the operator, 2 an error.
    """
    access = Access(kubeconfig, context)
    with access.open() as cluster:
        estate = Estate.of(cluster, profiles)
        at = console()
        if not estate.rows:
            click.echo(f"There is nothing to let go of. {_NEXT}")
            return
        at.print(actions(estate.rows))
        if dry_run:
            return
        confirmed("Go on?", yes=yes)
        if estate.profiles and not answers(cluster, estate.profiles, patience):
            _without_operator(access, cluster, estate, keep_release=keep_release)
        for body in estate.profiles:
            name = body["metadata"]["name"]
            if (live := cluster.find(PROFILES, name)) is None:
                continue
            cluster.delete(PROFILES, name, live["metadata"]["uid"])
            advice = "status says what it waits for; approve may release it"
            until(cluster, name, lambda found: found is None, f"The operator lets go of {name}", timeout, advice)
            click.echo(f"{name}: gone")
        if estate.pools:
            asyncio.run(_release(access, cluster, estate.pools))
        click.echo(_NEXT)


def answers(cluster: Cluster, profiles: tuple[Json, ...], patience: float) -> bool:
    """Whether the operator runs: its Deployment is available, or it answers a request within that many seconds."""
    if any(
        each.get("status", {}).get("availableReplicas") for each in cluster.list(DEPLOYMENTS, labelSelector=SELECTOR)
    ):
        return True
    asked = [each["metadata"]["name"] for each in profiles if "deletionTimestamp" not in each["metadata"]]
    stamps = {name: request(cluster, name) for name in asked}
    deadline = time.monotonic() + patience
    with progress("Looking whether the operator runs"):
        while time.monotonic() < deadline:
            found = {each["metadata"]["name"]: cluster.find(PROFILES, each["metadata"]["name"]) for each in profiles}
            # Of those that are being deleted it gives no other sign than that they go.
            if any(handled(found[name], stamp) for name, stamp in stamps.items()):
                return True
            if not stamps and None in found.values():
                return True
            time.sleep(_POLL)
    return False


def _without_operator(access: Access, cluster: Cluster, estate: Estate, *, keep_release: bool) -> None:
    """Do what the operator would.

    Raises:
        Refusal: It would have restored values, which needs Helm.
    """
    for body in estate.profiles:
        wants = body["spec"].get("release") and body["spec"].get("deletionPolicy", {}).get("release") == "Restore"
        if wants and not keep_release:
            raise Refusal(
                f"Profile {body['metadata']['name']} is to restore its release, and the operator that could does not "
                "answer; start it again, or leave the values with --keep-release"
            )
    click.echo("The operator does not answer; its work is done from here.", err=True)
    for body in estate.profiles:
        name = body["metadata"]["name"]
        cluster.delete(PROFILES, name, body["metadata"]["uid"])
        for _ in range(_ROUNDS):
            if (live := cluster.find(PROFILES, name)) is None:
                break
            asyncio.run(_part(access, cluster, live))
        else:
            raise Refusal(f"Profile {name} is still there; try again, or look who changes its NodePools all the time")
        click.echo(f"{name}: gone")


async def _part(access: Access, cluster: Cluster, body: Json) -> None:
    """One pass of a farewell: the operator's own plan, with everything retained."""
    found = Profile.of(body)
    policy = DeletionPolicy(node_pools=PoolDeletion.RETAIN, release=ReleaseDeletion.KEEP)
    profile = replace(found, spec=found.spec.model_copy(update={"deletion_policy": policy}))
    async with context_of(access, World.of(cluster, profile), writes=True) as context, gathering(context) as gatherer:
        now = context.clock()
        decided = plan(await gatherer.gather(profile), now)
        await _act(context, gatherer, decided)


async def _release(access: Access, cluster: Cluster, pools: tuple[Json, ...]) -> None:
    """Let go of NodePools whose profile is gone."""
    for live in pools:
        name = live["metadata"]["name"]
        target = f"NodePool/{name}"
        verbs = (model.Verb.REATTACH, model.Verb.RELEASE)
        nobody = Profile.bare({"metadata": _nobody(_profile_of(live))})
        async with (
            context_of(access, World.of(cluster, nobody), writes=True) as context,
            gathering(context) as gatherer,
        ):
            await _act(
                context, gatherer, model.Plan(actions=tuple(model.Action(verb, target, live=live) for verb in verbs))
            )
        click.echo(f"NodePool {name}: released")


async def _act(context: Context, gatherer: Gatherer, decided: model.Plan) -> None:
    actor = Actor(context.kube, context.wrote, gatherer.release)
    for _, error in (await actor.act(decided, context.clock())).failed:
        raise error


def _nobody(name: str) -> Json:
    return {
        "name": name,
        "uid": "",
        "generation": 1,
        "resourceVersion": "0",
        "creationTimestamp": datetime.now(UTC).isoformat(),
    }


def _marked(pool: Json) -> bool:
    meta = pool["metadata"]
    return LABEL_PROFILE in meta.get("labels", {}) or FINALIZER_PROTECT in meta.get("finalizers", ())


def _profile_of(pool: Json) -> str:
    return str(pool["metadata"].get("labels", {}).get(LABEL_PROFILE, ""))


def _row(action: str, target: str, cost: str) -> Json:
    return {"action": action, "target": target, "disruption": cost}
