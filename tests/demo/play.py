"""The scenes of the demo, from an unprotected server to five deeds undone."""

import asyncio
import contextlib
import shlex
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from rich.markup import escape

from demo import connect
from demo.bends import Bend, Heal, bends, heal, reported
from demo.connect import Place
from demo.content import Content, Running
from demo.show import Show
from harness import DEPLOY, NODE_CLAIMS, NODE_POOLS, NODES, ROOT, Api, Json, Operator, Profile, Timeline, kustomize
from harness.releases import chart, release_options
from recorder import Record, Recorder, Table, Watched, page
from sandbox import Cluster, NotYetError, cluster, eventually

SAMPLE: Final = DEPLOY / "samples" / "quickstart.yaml"
PROFILE: Final = "production"
_HEADS: Final = ("", "what", "where", "who", "time (ms)", "result")
_COUNTED: Final = "Time: from the colleague's request until a watch from outside showed everything right again."
_INTRO: Final = (
    "A Connect server ran where Karpenter's defaults had put it. A profile moved it to a NodePool of its own by one "
    "upgrade, which waited for a render. Then colleagues bent the NodePools, and the operator put them right."
)


async def play(show: Show, target: Path, *, keep: bool) -> bool:
    """Play everything, and write the page of it; tell whether every deed was undone and nothing was lost.

    Args:
        show: Where to tell it.
        target: Where the page goes.
        keep: Stay at the end until the task is cancelled.

    Raises:
        SandboxError: If something does not start, or ends by itself.
        NotYetError: If something does not become what it should.
        OSError: If the page cannot be written.
    """
    async with AsyncExitStack() as stack:
        show.title("A cluster as many are")
        with show.step("start etcd, Kubernetes, kwok and Karpenter: the real programs, as processes on loopback"):
            it = await stack.enter_async_context(cluster())
        stack.callback(show.say, "stopping everything ...", "dim")
        async with Recorder(it.kubeconfig, Watched(PROFILE, connect.NAMESPACE, connect.RELEASE)) as recorder:
            before = await _unprotected(it, show)
            show.title("The operator, and one object")
            with show.step("kubectl apply -k deploy, and start the operator as the ServiceAccount of that"):
                operator = await stack.enter_async_context(Operator(it, *release_options(it)))
            with show.step("kubectl apply -k deploy/release: what it may do in the namespace of the release"):
                it.apply(*kustomize(it, DEPLOY / "release"))
            content = Content(it)
            profile = await _protect(it, show, before, content)
            show.title("What colleagues do to NodePools")
            heals, survived = await _bend(it, show, profile, content)
        _sum_up(it, show, profile, heals)
        with show.step("draw what a watch of the API saw of all this"):
            await asyncio.to_thread(_write, target, recorder.record, heals)
        if keep:
            with contextlib.suppress(asyncio.CancelledError):  # the way it is meant to end
                await _stay(it, show, operator, target)
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


async def _protect(it: Cluster, show: Show, before: Place, content: Content) -> Profile:
    profile = Profile(PROFILE, "connect-server", "connect-content", Api(it.api))
    with show.step("somebody renders a report on Connect"):
        (render,) = await content.start(Content.REPORT)
    show.console.print(f"[dim]{escape(SAMPLE.read_text().rstrip())}", highlight=False)
    with show.step(f"kubectl apply -f {_short(SAMPLE)}: moving the server would restart it, so that waits"):
        it.apply(SAMPLE, field_manager="kubectl-client-side-apply")
        deferred = await profile.condition_is("Ready", "False", "Deferred", seconds=90)
    ready = next(each for each in deferred["status"]["conditions"] if each["type"] == "Ready")
    show.say(f"status: {ready['message']}", "yellow")
    with show.step("the render ends, and the release is upgraded once: wait for Ready"):
        await content.finish(render)
        await profile.ready(seconds=90)
        after = await connect.server(profile.api)
    _kubectl(it, show, "get", "cap")
    _kubectl(it, show, "get", "nodepools")
    _helm_history(it, show)
    rows = [(when, _capacity(each), each.pool, each.node) for when, each in (("before", before), ("now", after))]
    show.table(("Connect server", "capacity type", "pool", "node"), rows)
    show.say(
        "One upgrade, one restart, no render lost: the server runs on on-demand capacity that nothing consolidates.",
        "green",
    )
    return profile


async def _bend(it: Cluster, show: Show, profile: Profile, content: Content) -> tuple[list[Heal], bool]:
    """Let every deed be done; tell also whether the node of the deleted server pool survived, and content."""
    heals: list[Heal] = []
    *before, last = bends(profile)
    async with Timeline(it, NODE_POOLS) as timeline:
        for bend in before:
            heals.append(await _one(show, bend, profile, timeline, len(heals) + 1))
        show.console.print()
        with show.step("meanwhile, on Connect: another render, and a dashboard with visitors"):
            running = await content.start(Content.REPORT, Content.DASHBOARD)
        server = await connect.server_pod(profile.api)
        heals.append(await _one(show, last, profile, timeline, len(heals) + 1))
        survived = await _survival(show, profile, server, content, running)
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


async def _survival(show: Show, profile: Profile, server: Json, content: Content, running: list[Running]) -> bool:
    """Look whether server pod, node and NodeClaim are as before, and Karpenter's again, and content undisturbed."""
    api = profile.api

    def same() -> bool:
        (claim,) = api.list(NODE_CLAIMS, labelSelector=f"karpenter.sh/nodepool={profile.server}")
        node = api.get(NODES, server["spec"]["nodeName"])
        pod = api.get(connect.PODS, server["metadata"]["name"])
        assert all("deletionTimestamp" not in each["metadata"] for each in (claim, node, pod))
        assert claim["status"]["nodeName"] == node["metadata"]["name"]
        assert pod["metadata"]["uid"] == server["metadata"]["uid"]
        assert all(content.undisturbed(each) for each in running)
        assert not [taint for taint in node["spec"].get("taints", ()) if taint["key"] == "karpenter.sh/disrupted"]
        return bool(profile.pool()["status"].get("nodes") == 1)  # Karpenter counts every 5 s

    try:
        with show.step("wait until Karpenter counts the node as one of the new pool's, and the profile is Ready"):
            await eventually(same, timeout=20)
            await profile.ready()
    except NotYetError as error:
        show.say(f"   the node did not survive: {error}", "red")
        return False
    _show_place(show, *(connect.place(api, pod) for pod in (server, *(each.pod for each in running))))
    show.say("The same server on the same node, the same content: nothing was drained.", "green")
    return True


def _sum_up(it: Cluster, show: Show, profile: Profile, heals: list[Heal]) -> None:
    show.title("Summary")
    colour = {"healed": "[green]", "NOT HEALED": "[red]"}
    rows = [[*map(escape, row[:-1]), colour[row[-1]] + row[-1]] for row in _rows(heals)]
    show.table(_HEADS, rows, right=("time (ms)",))
    show.say(f"{_COUNTED} What status says:", "dim")
    columns = ("target", "path", "by", "expected", "actual", "action")
    names = ("target", "path", "manager", "expected", "actual", "action")
    items = [[escape(str(item.get(name, "-"))) for name in names] for item in profile.drift()]
    show.table(columns, items)
    _kubectl(it, show, "get", "cap", "-o", "wide")


def _write(target: Path, record: Record, heals: list[Heal]) -> None:
    table = Table("What colleagues did, and what became of it", _HEADS, _rows(heals), _COUNTED)
    text = page(record, "The demo, as the cluster's API saw it", _INTRO, [table])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def _rows(heals: list[Heal]) -> list[tuple[str, ...]]:
    return [
        (
            str(number),
            each.bend.what,
            f"{each.bend.pool}{each.item.get('path', '')}".removesuffix("/"),
            _who(each),
            f"{each.milliseconds:.1f}" if each.milliseconds is not None else "-",
            "healed" if each.healed else "NOT HEALED",
        )
        for number, each in enumerate(heals, 1)
    ]


async def _stay(it: Cluster, show: Show, operator: Operator, target: Path) -> None:
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
        f"The page of it: {target}",
    ):
        show.console.print(line, markup=False, soft_wrap=True)
    show.say("Ctrl-C here stops everything.", "bold")
    await it.watch()


def _show_place(show: Show, *places: Place) -> None:
    rows = [(place.pod, place.node, _capacity(place), place.pool) for place in places]
    show.table(("pod", "node", "capacity type", "pool"), rows)


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
