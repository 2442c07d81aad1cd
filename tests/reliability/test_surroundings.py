"""What happens around the operator: the API server and etcd go and come back, credentials rotate, clocks jump."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from connect_autoscaler.core import kube, probes
from connect_autoscaler.core.context import Context
from harness import NODE_POOLS, USER, Json, Kind, Workspace, unique
from harness.installation import NAMESPACE, SERVICE_ACCOUNT
from reliability.incarnation import Incarnation
from reliability.kubelet import Kubelet, watched
from reliability.life import LIMIT, Life
from reliability.proxy import Proxy
from reliability.record import Record
from reliability.rules import Fault, Rule, Rules
from reliability.soak import grown, rounds_of
from reliability.stage import Stage
from reliability.workloads import ready
from reliability.world import World
from sandbox import Cluster, eventually
from sandbox.certs import Identity, issue
from sandbox.components import free_ports

pytestmark = pytest.mark.timeout(600)
STORM = 40
SOON = timedelta(seconds=1)
BRIEF = timedelta(seconds=9)
ROUNDS = 150
_PROFILES = "connectautoscalingprofiles"
SECRETS = Kind("v1", "secrets", NAMESPACE)


async def test_a_storm_of_410(it: World) -> None:
    """Every event ends its watch, and every end costs a list."""
    async with watched(it) as one:
        one.rules.set(*(Rule(f"watch {kind}", Fault.GONE, times=STORM) for kind in ("nodepools", _PROFILES)))
        await one.heals()
        written = len(one.record.writes())
        assert written < STORM, "a list that shows nothing new must cost no write"
        one.rules.set()
        await one.heals()


async def test_the_api_server_and_etcd_go_and_come_back_amid_changes(it: World) -> None:
    async with watched(it) as one:
        for name in ("kube-apiserver", "etcd", "kube-apiserver"):
            one.bend()
            await it.cluster.kill(name)
            if name == "etcd":
                await it.cluster.kill("kube-apiserver")  # it does not outlive etcd for long, in its own time
                await it.cluster.start("etcd")
                await it.cluster.start("kube-apiserver")
            else:
                await it.cluster.start(name)
            await _settled(one)
            await one.heals()


async def test_the_api_server_takes_requests_and_never_answers(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many NodePools are bent: if each was waited for in turn, a kubelet would restart the operator again and again."""
    for bound in (kube.Kube.__init__, vars(kube.Kube)["connect"].__func__):
        monkeypatch.setattr(bound, "__kwdefaults__", {"patience": SOON.total_seconds()})
    stuck_after = probes.STUCK_AFTER * (SOON / timedelta(seconds=30))
    async with watched(it, stuck_after=stuck_after) as one:
        names = [f"{one.stage.own}-{number}" for number in range(8)]
        one.stage.profile.patch({"additionalContentPools": [{"name": name, "weight": 5} for name in names]})
        await _settled(one)
        outage = Rule("apply nodepools *-content", Fault.SLOW, seconds=1.5 * stuck_after.total_seconds())
        one.rules.set(outage)
        for name in (one.stage.profile.content, *names):
            one.stage.api.merge(NODE_POOLS, name, {"spec": {"weight": 99}})
        await eventually(lambda: outage.fired and outage.over, timeout=LIMIT)
        await _settled(one)
        await eventually(lambda: all(one.stage.profile.pool(name)["spec"]["weight"] == 5 for name in names))


async def test_history_is_compacted_while_nobody_looks(it: World) -> None:
    """The watches begin where etcd knows nothing any more: they are answered with 410, and everything is listed."""
    async with watched(it) as one:
        revision = int(one.stage.version())
        _compact(it.cluster, revision)
        await it.cluster.restart("kube-apiserver")  # forgets what it had kept of the history
        await _settled(one)
        await one.heals()


async def test_a_token_in_a_file_rotates(it: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "_RENEWAL", 0.1)
    tokens = tmp_path / "token"
    await _rotates(it, tokens, {"tokenFile": str(tokens)}, tmp_path)


async def test_a_plugin_gives_another_token(it: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "_RENEWAL", 0.1)
    tokens, plugin = tmp_path / "token", tmp_path / "plugin"
    kind = '"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential"'
    plugin.write_text(f'#!/bin/sh\nprintf \'{{{kind},"status":{{"token":"%s"}}}}\' "$(cat {tokens})"\n')
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    version = "client.authentication.k8s.io/v1"
    user = {"exec": {"apiVersion": version, "command": str(plugin), "interactiveMode": "Never"}}
    await _rotates(it, tokens, user, tmp_path)


async def test_a_certificate_is_replaced_when_it_expires(
    it: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the certificate, then its key, and the API server begins anew between the two, when they do not fit."""
    monkeypatch.setattr(kube, "_RENEWAL", 0.1)
    old, used = tmp_path / "old", tmp_path / "used"
    for directory in (old, used):
        directory.mkdir()
    brief = _certificate(it.cluster, BRIEF)
    brief.write(old, "client")
    paths = dict(zip(("client-certificate", "client-key"), map(str, brief.write(used, "client")), strict=True))
    record, rules, own = Record(), Rules(), unique("c")
    passage, (port,) = _Passage(it.cluster, own, record, rules), free_ports(1)
    async with (
        Incarnation(passage, _kubeconfig(it, paths, tmp_path), liveness_port=port) as operator,
        Kubelet(port) as kubelet,
        Workspace(it.cluster) as workspace,
    ):
        one = Life(Stage(workspace, own), operator, rules, record)
        one.stage.create_profile()
        await _settled(one)
        _certificate(it.cluster).write(old, "new")
        (old / "new.crt").replace(used / "client.crt")
        await eventually(lambda: not _known(it.cluster, old), timeout=LIMIT)
        await it.cluster.restart("kube-apiserver")  # connections and watches have the old one, and go on with it
        one.bend()
        await eventually(lambda: "credentials cannot be read again" in "\n".join(operator.log.lines), timeout=LIMIT)
        (old / "new.key").replace(used / "client.key")
        await _settled(one)
        await one.heals()
        assert not operator.ended
        assert "Traceback" not in "\n".join(operator.log.lines)
    kubelet.never_restarts()


class _Passage(Proxy):
    """No proxy at all: a client's certificate proves itself to whom it talks to."""

    def kubeconfig(self, original: Path) -> Path:
        return original


def _certificate(cluster: Cluster, lifetime: timedelta = timedelta(days=1)) -> Identity:
    return issue(USER, ["system:authenticated"], cluster._authority, lifetime=lifetime)


def _known(cluster: Cluster, directory: Path) -> bool:
    """Tell whether the API server takes the certificate in a directory."""
    pair = (str(directory / "client.crt"), str(directory / "client.key"))
    url = f"{cluster.server}/apis/karpenter.sh/v1/nodepools"
    answer = requests.get(url, cert=pair, verify=str(cluster.ca), timeout=10)
    return answer.status_code != requests.codes.unauthorized


def _kubeconfig(it: World, user: Json, directory: Path) -> Path:
    document = json.loads(it.kubeconfig.read_text())
    document["users"][0]["user"] = user
    path = directory / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


def _give(tokens: Path, token: str) -> None:
    tokens.write_text(token)


async def _rotates(it: World, tokens: Path, user: Json, directory: Path) -> None:
    """Give the operator a token, another one, and have the first one refused."""
    old, holder = _token(it.cluster)
    _give(tokens, old)
    async with watched(World(it.cluster, _kubeconfig(it, user, directory), it.proxies)) as one:
        _give(tokens, _token(it.cluster)[0])
        one.stage.api.delete(SECRETS, holder)  # what it was bound to is gone, and so is the token, in ten seconds
        await eventually(lambda: not _works(it.cluster, old), timeout=LIMIT)
        await one.heals()


def _token(cluster: Cluster) -> tuple[str, str]:
    """Return a token of the operator's ServiceAccount, and the name of the Secret that it ends with."""
    name = unique("token")
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    made = cluster.api.post(version="v1", namespace=NAMESPACE, url="secrets", json=body)
    made.raise_for_status()
    bound = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": made.json()["metadata"]["uid"]}
    answer = cluster.api.post(
        version="v1",
        namespace=NAMESPACE,
        url=f"serviceaccounts/{SERVICE_ACCOUNT}/token",
        json={"spec": {"boundObjectRef": bound}},
    )
    answer.raise_for_status()
    return str(answer.json()["status"]["token"]), name


def _works(cluster: Cluster, token: str) -> bool:
    url = f"{cluster.server}/apis/karpenter.sh/v1/nodepools"
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, verify=str(cluster.ca), timeout=10)
    return answer.status_code != requests.codes.unauthorized


class Clock:
    """A wall clock that can be put on and back."""

    def __init__(self) -> None:
        self.off = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.off


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(Context.__init__, "__defaults__", (made,))
    return made


async def test_the_clock_jumps(it: World, clock: Clock) -> None:
    async with watched(it) as one:
        for off in (timedelta(days=400), timedelta(0), timedelta(days=-400), timedelta(hours=-1), timedelta(0)):
            # Amid an outage, when there is something to wait for.
            one.rules.set(Rule("apply nodepools *-content", "error:503", times=3))
            clock.off = off
            await one.heals()
        assert any("clock has jumped" in line for line in one.operator.log.lines)


async def test_the_clock_jumps_back_while_a_refusal_lasts(it: World, clock: Clock) -> None:
    """What was refused is not tried again for a while; by a clock that was put back, that would be a year."""
    async with watched(it) as one:
        one.rules.set(Rule("apply nodepools *-content", "error:422", times=2))
        one.bend()
        await eventually(lambda: [e for e in one.record.entries() if e.status == 0 and e.request.writes], timeout=LIMIT)
        clock.off = timedelta(days=-365)
        await eventually(one.straight, timeout=LIMIT)


async def test_thousands_of_heals_leave_nothing_behind(it: World) -> None:
    """A short one; the campaign has a long one."""
    found = await rounds_of(it, ROUNDS, samples=10)
    assert not grown(found, tolerance=40), found


async def _settled(one: Life) -> None:
    """Wait until the API server is back and the profile Ready."""
    await eventually(lambda: one.straight() and ready(one.stage), timeout=LIMIT, interval=0.1)


def _compact(cluster: Cluster, revision: int) -> None:
    """Have etcd forget everything before a revision."""
    server = cluster._components["etcd"].health.removesuffix("/health")
    answer = requests.post(f"{server}/v3/kv/compaction", json={"revision": revision, "physical": True}, timeout=30)
    answer.raise_for_status()
