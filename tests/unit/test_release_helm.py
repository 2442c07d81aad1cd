"""How helm is called, and how it ends: a script stands in for it, which is a real process."""

import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release.helm import Access, Helm, HelmError, Target, environment
from sandbox import eventually

TARGET = Target("posit", "connect")
CHART = Path("/charts/rstudio-connect")
USER = "system:serviceaccount:posit:helm"
VALUES = {"config": {"Postgres": {"Password": "s3cr3t with words"}}, "license": {"key": "AAAA-BBBB"}}


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., Helm]:
    """Make a helm that writes down what it was given, and then does what a test says."""

    def make(does: str = "", *, grace: float = 10) -> Helm:
        program = f"""\
            #!{sys.executable}
            import json, os, signal, sys, time
            from pathlib import Path
            here = Path({str(tmp_path)!r})
            given = dict(argv=sys.argv[1:], env=dict(os.environ), stdin=sys.stdin.read(), cwd=os.getcwd())
            (here / "given.new").write_text(json.dumps(dict(given, pid=os.getpid(), group=os.getpgid(0))))
            (here / "given.new").rename(here / "given.json")
            """
        binary = tmp_path / "helm"
        binary.write_text(textwrap.dedent(program) + textwrap.dedent(does))
        binary.chmod(0o755)
        return Helm(str(binary), tmp_path / "home", grace=grace)

    return make


def given(tmp_path: Path) -> dict[str, Any]:
    return dict(json.loads((tmp_path / "given.json").read_text()))


def upgrade(helm: Helm, **options: Any) -> Any:
    return helm.upgrade(
        TARGET,
        Access("/kubeconfig", "there", USER),
        CHART,
        VALUES,
        timeout="15m",
        attempt="a1",
        description="two words",
        history_max=12,
        **options,
    )


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_upgrade_is_called_like_this(fake: Callable[..., Helm], tmp_path: Path) -> None:
    await upgrade(fake('print("out" * 10**6)'))
    call = given(tmp_path)
    assert call["argv"] == [
        *("upgrade", "connect", str(CHART), "--namespace=posit", "--reset-values", "--values=-"),
        *("--wait=watcher", "--rollback-on-failure", "--timeout=15m", "--history-max=12"),
        *("--labels=connect-autoscaler.io/attempt=a1", "--description=two words", "--output=json"),
        *("--kube-context=there", f"--kube-as-user={USER}"),
    ]
    assert json.loads(call["stdin"]) == VALUES
    assert call["group"] == call["pid"]
    assert call["cwd"] == str(tmp_path / "home")
    await upgrade(fake(), force_conflicts=True)
    assert "--force-conflicts" in given(tmp_path)["argv"]


async def test_render_and_rollback_are_called_like_this(fake: Callable[..., Helm], tmp_path: Path) -> None:
    helm = fake("""print(json.dumps({"manifest": "a: é", "config": given["stdin"]}))""")
    assert await helm.render(TARGET, Access(), CHART, VALUES) == "a: é"
    assert given(tmp_path)["argv"] == [
        *("upgrade", "connect", str(CHART), "--namespace=posit", "--reset-values", "--values=-"),
        *("--dry-run=server", "--output=json"),
    ]
    await helm.rollback(TARGET, Access(), 7, timeout="5m", history_max=10)
    call = given(tmp_path)
    rest = ["--wait=watcher", "--timeout=5m", "--history-max=10"]
    assert call["argv"] == ["rollback", "connect", "7", "--namespace=posit", *rest]
    assert call["stdin"] == ""


async def test_no_value_is_in_arguments_environment_or_files(fake: Callable[..., Helm], tmp_path: Path) -> None:
    with pytest.raises(HelmError) as caught:
        await upgrade(fake("""sys.exit("Error: UPGRADE FAILED: s3cr3t with words AAAA-BBBB is forbidden")"""))
    call = given(tmp_path)
    for secret in ("s3cr3t", "AAAA"):
        assert secret in call["stdin"]
        assert secret not in f"{call['argv']} {call['env']} {caught.value!r} {caught.value}"
        assert not any(secret in path.read_text() for path in (tmp_path / "home").rglob("*") if path.is_file())


async def test_a_huge_complaint_is_cut(fake: Callable[..., Helm]) -> None:
    flood = 'os.write(2, b"noise " * 2**16); sys.exit("Error: UPGRADE FAILED: release: already exists")'
    with pytest.raises(HelmError) as caught:
        await upgrade(fake(flood))
    assert caught.value.reason is Reason.CONFLICT
    with pytest.raises(HelmError) as caught:
        await upgrade(fake('[os.write(2, b"noise " * 2**16) for _ in range(9)]'))
    assert caught.value.reason is Reason.HELM_FAILED


async def test_an_unreadable_answer(fake: Callable[..., Helm]) -> None:
    for answer in ("[]", "{}", '"s3cr3t', ""):
        with pytest.raises(HelmError) as caught:
            await fake(f"print({answer!r})").render(TARGET, Access(), CHART, VALUES)
        assert caught.value.reason is Reason.HELM_FAILED
        assert "s3cr3t" not in f"{caught.value!r} {caught.value.__cause__}"


def test_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    passed = {
        **{name: name.lower() for name in ("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")},
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"), "proxy"),
    }
    in_cluster = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    dropped = ("HELM_DRIVER", "HELM_KUBETOKEN", "HELM_NAMESPACE", "KUBECONFIG", "HOME", "AWS_SECRET_ACCESS_KEY")
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in {**passed, **in_cluster, **dict.fromkeys(dropped, "no")}.items():
        monkeypatch.setenv(name, value)
    homes = {f"HELM_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    own = {"HOME": str(tmp_path), **homes}
    assert environment(tmp_path, None) == {**passed, **in_cluster, **own}
    assert environment(tmp_path, "/a:/b") == {**passed, **own, "KUBECONFIG": "/a:/b"}
    monkeypatch.chdir(tmp_path)
    assert environment(tmp_path, "mine")["KUBECONFIG"] == str(tmp_path / "mine")


async def test_version(fake: Callable[..., Helm], tmp_path: Path) -> None:
    assert await fake('print("v4.3.1", end="")').version() == "v4.3.1"
    cases = {
        "v3.19.0": fake('print("v3.19.0")'),
        "ended with code 3": fake("sys.exit(3)"),
    }
    for words, helm in cases.items():
        binary = tmp_path / words.replace(" ", "-")
        binary.write_bytes((tmp_path / "helm").read_bytes() if words != "v3.19.0" else b"#!/bin/sh\necho v3.19.0\n")
        binary.chmod(0o755)
        with pytest.raises(HelmError, match=words) as caught:
            await Helm(str(binary), helm.home).version()
        assert caught.value.reason is Reason.HELM_NOT_FOUND
    (tmp_path / "no-program").write_text("")
    for name, words in (("no-such-file", "No such file"), ("no-program", "Permission denied")):
        assert not os.access(tmp_path / name, os.X_OK)
        with pytest.raises(HelmError, match=words) as caught:
            await Helm(str(tmp_path / name), tmp_path / "home").version()
        assert caught.value.reason is Reason.HELM_NOT_FOUND


async def test_a_killed_helm_is_an_interruption(fake: Callable[..., Helm]) -> None:
    with pytest.raises(HelmError, match="signal 9") as caught:
        await upgrade(fake("os.kill(os.getpid(), signal.SIGKILL)"))
    assert (caught.value.reason, caught.value.passing) == (Reason.CANCELLED, True)


async def started(tmp_path: Path) -> int:
    await eventually((tmp_path / "given.json").exists, interval=0.01)
    return int(given(tmp_path)["pid"])


ROLLS_BACK = """
    def end(*_):
        time.sleep(0.3)
        (here / "rolled-back").touch()
        sys.exit(1)
    signal.signal(signal.SIGTERM, end)
    (here / "listening").touch()
    signal.pause()
"""


async def test_a_cancelled_upgrade_ends_in_good_order(fake: Callable[..., Helm], tmp_path: Path) -> None:
    task = asyncio.create_task(upgrade(fake(ROLLS_BACK)))
    pid = await started(tmp_path)
    await eventually((tmp_path / "listening").exists, interval=0.01)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "rolled-back").exists()
    assert gone(pid)


STUBBORN = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    import subprocess
    child = subprocess.Popen(["sleep", "600"])  # holds stderr open, too
    (here / "child").write_text(str(child.pid))
    (here / "listening").touch()
    while True:
        signal.pause()
"""


async def test_who_does_not_end_is_killed_with_everybody_it_started(fake: Callable[..., Helm], tmp_path: Path) -> None:
    task = asyncio.create_task(upgrade(fake(STUBBORN, grace=0.2)))
    pid = await started(tmp_path)
    await eventually((tmp_path / "listening").exists, interval=0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert gone(pid)
    await eventually(lambda: orphan_gone(int((tmp_path / "child").read_text())))


def orphan_gone(pid: int) -> bool:
    """Tell whether a process has ended, though nobody may have reaped it."""
    if sys.platform != "linux":
        return gone(pid)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_a_survivor_does_not_hold_up_the_end(fake: Callable[..., Helm], tmp_path: Path) -> None:
    helm = fake("""
        import subprocess
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (here / "child").write_text(str(child.pid))
        """)
    try:
        await asyncio.wait_for(upgrade(helm), 5)
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


async def test_a_rollback_is_not_interrupted(fake: Callable[..., Helm], tmp_path: Path) -> None:
    """Helm's own knows no SIGTERM: it would leave the lock behind."""
    helm = fake("""
        signal.signal(signal.SIGTERM, lambda *_: (here / "interrupted").touch())
        (here / "listening").touch()
        while not (here / "go").exists():
            time.sleep(0.01)
        (here / "done").touch()
        """)
    task = asyncio.ensure_future(helm.rollback(TARGET, Access(), 1, timeout="5m", history_max=10))
    await eventually((tmp_path / "listening").exists, interval=0.01)
    task.cancel()
    await asyncio.sleep(0)
    (tmp_path / "go").touch()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "done").exists()
    assert not (tmp_path / "interrupted").exists()


async def test_a_helm_that_hangs_is_ended(
    fake: Callable[..., Helm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connect_autoscaler.release.helm._UNWAITING", 1.0)
    with pytest.raises(HelmError) as caught:
        await fake("signal.pause()").render(TARGET, Access(), CHART, VALUES)
    assert (caught.value.reason, caught.value.passing) == (Reason.TIMEOUT, True)
    assert gone(given(tmp_path)["pid"])
