"""The scenes of the demo, from an unprotected server to five deeds undone."""

import asyncio
import contextlib
import shlex
from contextlib import AsyncExitStack
from typing import Any, Final

from rich.markup import escape

from demo import connect
from demo.bends import Bend, Heal, bends, heal, reported
from demo.connect import Place
from demo.show import Show
from harness import DEPLOY, NODE_CLAIMS, NODE_POOLS, NODES, ROOT, Api, Json, Operator, Profile, Timeline, kustomize
from harness.releases import chart, release_options
from sandbox import Cluster, NotYetError, cluster, eventually

SAMPLE: Final = DEPLOY / "samples" / "quickstart.yaml"


async def play(show: Show, *, keep: bool) -> bool:
    """Play everything; tell whether every deed was undone.

    Args:
        show: Where to tell it.
        keep: Stay at the end until the task is cancelled.

    Raises:
        SandboxError: If something does not start, or ends by itself.
        NotYetError: If something does not become what it should.
    """
    async with AsyncExitStack() as stack:
        show.title("A cluster as many are")
        with show.step("start etcd, Kubernetes, kwok and Karpenter: the real programs, as processes on loopback"):
            it = await stack.enter_async_context(cluster())
        stack.callback(show.say, "stopping everything ...", "dim")
        before = await _unprotected(it, show)
        show.title("The operator, and one object")
        with show.step("kubectl apply -k deploy, and start the operator as the ServiceAccount of that"):
            operator = await stack.enter_async_context(Operator(it, *release_options(it)))
        with show.step("kubectl apply -k deploy/release: what it may do in the namespace of the release"):
            it.apply(*kustomize(it, DEPLOY / "release"))
        profile = await _protect(it, show, before)
        show.title("What colleagues do to NodePools")
        heals, survived = await _bend(it, show, profile)
        _sum_up(it, show, profile, heals)
        if keep:
            with contextlib.suppress(asyncio.CancelledError):  # the way it is meant to end
                await _stay(it, show, operator)
        return survived and all(each.healed for each in heals)


async def _unprotected(it: Cluster, show: Show) -> Place:
    """Let Connect run where Karpenter's defaults put it, and tell where that is."""
    api = Api(it.api)
    with show.step(f"NodePool {connect.POOL}: spot allowed, consolidating, a node lives 30 days"):
        node_class = {"apiVersion": "karpenter.kwok.sh/v1alpha1", "kind": "KWOKNodeClass"}
        it.apply({**node_class, "metadata": {"name": "default"}}, connect.open_pool())
        await eventually(lambda: _ready(api.get(NODE_POOLS, connect.POOL)))
    with show.step(f"helm install {connect.RELEASE} {_short(chart())} --namespace {connect.NAMESPACE}"):
        await connect.provide_storage(it)
        await connect.install(it)
        place = await connect.server(api)
    _show_place(show, place)
    verdict = (
        f"The Connect server runs on a {place.capacity} node of a pool that consolidates. When Karpenter or the cloud "
        "takes that node, every running app, API and render is orphaned."
    )
    show.say(verdict, "yellow")
    return place


async def _protect(it: Cluster, show: Show, before: Place) -> Profile:
    show.console.print(f"[dim]{escape(SAMPLE.read_text().rstrip())}", highlight=False)
    profile = Profile("production", "connect-server", "connect-content", Api(it.api))
    with show.step(f"kubectl apply -f {_short(SAMPLE)}, and wait for Ready: the release is upgraded once"):
        it.apply(SAMPLE, field_manager="kubectl-client-side-apply")
        await profile.ready(seconds=90)
        after = await connect.server(profile.api)
    _kubectl(it, show, "get", "cap")
    _kubectl(it, show, "get", "nodepools")
    _helm_history(it, show)
    rows = [(when, _capacity(each), each.pool, each.node) for when, each in (("before", before), ("now", after))]
    show.table(("Connect server", "capacity type", "pool", "node"), rows)
    show.say("One upgrade, one restart: the server runs on on-demand capacity that nothing consolidates.", "green")
    return profile


async def _bend(it: Cluster, show: Show, profile: Profile) -> tuple[list[Heal], bool]:
    """Let every deed be done; tell also whether the node of the deleted server pool survived."""
    heals: list[Heal] = []
    *before, last = bends(profile)
    async with Timeline(it, NODE_POOLS) as timeline:
        for bend in before:
            heals.append(await _one(show, bend, profile, timeline, len(heals) + 1))
        server = await connect.server_pod(profile.api)
        heals.append(await _one(show, last, profile, timeline, len(heals) + 1))
        survived = await _survival(show, profile, server)
    return heals, survived


async def _one(show: Show, bend: Bend, profile: Profile, timeline: Timeline, number: int) -> Heal:
    show.console.print()
    show.console.print(f"[bold]{number}. {escape(bend.what)}")
    show.command(bend.command)
    result = await heal(bend, profile, timeline)
    if result.milliseconds is None:
        show.console.print("   [red]not undone")
        return result
    show.console.print(f"   [green]right again after [bold]{result.milliseconds:.1f} ms")
    result = await reported(result, profile)
    if item := result.item:
        values = f"was {item.get('actual', 'absent')}, is {item.get('expected', 'absent')} again"
        show.say(f"   status: {item['path']} {values}; changed by {_who(result)}")
    else:
        show.console.print("   [red]status does not tell of it")
    return result


async def _survival(show: Show, profile: Profile, server: Json) -> bool:
    """Look whether the server's pod, node and NodeClaim are the same as before, and Karpenter's again."""
    api = profile.api

    def same() -> bool:
        (claim,) = api.list(NODE_CLAIMS, labelSelector=f"karpenter.sh/nodepool={profile.server}")
        node = api.get(NODES, server["spec"]["nodeName"])
        pod = api.get(connect.PODS, server["metadata"]["name"])
        assert all("deletionTimestamp" not in each["metadata"] for each in (claim, node, pod))
        assert claim["status"]["nodeName"] == node["metadata"]["name"]
        assert pod["metadata"]["uid"] == server["metadata"]["uid"]
        assert not [taint for taint in node["spec"].get("taints", ()) if taint["key"] == "karpenter.sh/disrupted"]
        return bool(profile.pool()["status"].get("nodes") == 1)  # Karpenter counts every 5 s

    try:
        with show.step("wait until Karpenter counts the node as one of the new pool's, and the profile is Ready"):
            await eventually(same, timeout=20)
            await profile.ready()
    except NotYetError as error:
        show.say(f"   the node did not survive: {error}", "red")
        return False
    _show_place(show, connect.place(api, server))
    show.say("The same server on the same node: nothing was drained.", "green")
    return True


def _sum_up(it: Cluster, show: Show, profile: Profile, heals: list[Heal]) -> None:
    show.title("Summary")
    rows = [
        (
            str(number),
            escape(each.bend.what),
            escape(f"{each.bend.pool}{each.item.get('path', '')}".removesuffix("/")),
            _who(each),
            f"{each.milliseconds:.1f}" if each.milliseconds is not None else "-",
            "[green]healed" if each.healed else "[red]NOT HEALED",
        )
        for number, each in enumerate(heals, 1)
    ]
    show.table(("", "what", "where", "who", "ms", "result"), rows, right=("ms",))
    show.say(
        "ms: from the colleague's request until a watch from outside showed everything right again. What status says:",
        "dim",
    )
    columns = ("target", "path", "by", "expected", "actual", "action")
    names = ("target", "path", "manager", "expected", "actual", "action")
    items = [[escape(str(item.get(name, "-"))) for name in names] for item in profile.drift()]
    show.table(columns, items)
    _kubectl(it, show, "get", "cap", "-o", "wide")


async def _stay(it: Cluster, show: Show, operator: Operator) -> None:
    links = it.dir / "bin"
    links.mkdir()
    for name in ("kubectl", "helm"):
        (links / name).symlink_to(it.binary(name))
    show.title("Yours now")
    for line in (
        f"export KUBECONFIG={shlex.quote(str(it.kubeconfig))}",
        f'export PATH={shlex.quote(str(links))}:"$PATH"',
        "kubectl get cap,nodepools,nodeclaims,pods -A",
        f"tail -f {shlex.quote(str(operator.log_file))}",
    ):
        show.console.print(line, markup=False, soft_wrap=True)
    show.say("Ctrl-C here stops everything.", "bold")
    await it.watch()


def _show_place(show: Show, place: Place) -> None:
    show.table(("pod", "node", "capacity type", "pool"), [(place.pod, place.node, _capacity(place), place.pool)])


def _capacity(place: Place) -> str:
    return f"[yellow]{place.capacity}" if place.capacity == "spot" else f"[green]{place.capacity}"


def _helm_history(it: Cluster, show: Show) -> None:
    arguments = ("history", connect.RELEASE, "--namespace", connect.NAMESPACE)
    done = it.helm(*arguments)
    show.command(shlex.join(("helm", *arguments)), done.stdout + done.stderr)


def _kubectl(it: Cluster, show: Show, *arguments: str) -> None:
    done = it.kubectl(*arguments)
    show.command(shlex.join(("kubectl", *arguments)), done.stdout + done.stderr)


def _who(result: Heal) -> str:
    manager = str(result.item.get("manager", "-"))
    return "unknown (removals leave no trace)" if manager == "unknown" else manager


def _short(path: Any) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _ready(pool: Json) -> bool:
    conditions = pool.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
