"""Building and finding programs, with a stand-in for Go: what is built, once, and what is said about it."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from sandbox import SandboxError, build, progress
from sandbox.progress import Progress
from sandbox.tools import tool_of
from sandbox.wait import poll

# It notes what it is asked, and builds when a file named `go-on` is there.
_GO = """#!/bin/sh
cd "$FAKE"
echo "$@" >> asked
case "$1" in
version) echo "go version go99.0 linux/amd64";;
list) echo one; echo two;;
build)
    while [ ! -e go-on ]; do sleep 0.02; done
    echo some/package >&2
    [ -e fail ] && { echo "disk on fire" >&2; exit 3; }
    while [ "$1" != -o ]; do shift; done
    case "$2" in */) for name in kube-apiserver kubectl; do echo built > "$2$name"; done;; *) echo built > "$2";; esac;;
esac
"""
_ENSURE = "import sys; from sandbox.build import ensure, find; ensure(sys.argv[1:]); print(find(sys.argv[1]))"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(_GO)
    go.chmod(0o755)
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("PATH", str(go.parent), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in build.OVERRIDES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        process.kill()
        process.communicate()


def _builds(fake: Path) -> list[str]:
    asked = fake / "asked"
    return [line for line in asked.read_text().splitlines() if line.startswith("build")] if asked.exists() else []


def test_two_builds_at_once(fake: Path, processes: list[subprocess.Popen[str]]) -> None:
    said = [fake / "first", fake / "second"]

    def start(errors: Path) -> subprocess.Popen[str]:
        with errors.open("w") as output:
            command = [sys.executable, "-c", _ENSURE, "etcd"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True)
        processes.append(process)
        return process

    first = start(said[0])
    assert poll(lambda: bool(_builds(fake)), timeout=60)
    second = start(said[1])
    assert poll(lambda: "waiting for another build of etcd" in said[1].read_text(), timeout=60)
    (fake / "go-on").touch()
    paths = [process.communicate(timeout=60)[0].strip() for process in (first, second)]
    assert first.returncode == second.returncode == 0
    assert paths[0] == paths[1]
    assert Path(paths[0]).read_text() == "built\n"
    assert len(_builds(fake)) == 1
    assert "building etcd" in said[0].read_text()
    assert "building etcd" not in said[1].read_text()


def test_builds_only_what_is_asked_and_only_once(fake: Path) -> None:
    (fake / "go-on").touch()
    for _ in range(2):
        build.ensure(["kube-apiserver", "kubectl"])
    (command,) = _builds(fake)
    assert command.endswith("k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl")
    assert "kube-scheduler" not in command
    assert [path.name for path in build.find("kubectl").parent.iterdir()].count("kubectl") == 1
    assert not list(build.find("kubectl").parent.glob(".new-*"))


def test_what_a_killed_build_left_is_cleared(fake: Path) -> None:
    (fake / "go-on").touch()
    left = fake / "cache/connect-autoscaler/bin" / f"etcd-{tool_of('etcd').digest}" / ".new-left"
    left.mkdir(parents=True)
    build.ensure(["etcd"])
    assert not left.exists()
    assert [path.name for path in left.parent.iterdir()] == ["etcd"]


def test_a_failed_build_says_what_and_why(fake: Path) -> None:
    (fake / "go-on").touch()
    (fake / "fail").touch()
    with pytest.raises(SandboxError) as caught:
        build.ensure(["etcd"])
    first, *rest = str(caught.value).splitlines()
    assert first == f"building {tool_of('etcd').title} failed (go build ended with code 3); its last lines:"
    assert rest[-1].strip() == "disk on fire"
    assert build.locate("etcd") is None


def test_what_is_not_built_is_told(fake: Path) -> None:
    with pytest.raises(SandboxError, match=r"helm \(helm \S+\) is not built yet: run `python -m sandbox build`"):
        build.find("helm")
    assert not _builds(fake)


@pytest.mark.parametrize("variable", build.OVERRIDES)
def test_a_given_directory_wins(fake: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    given = fake / "given"
    given.mkdir()
    (given / "etcd").touch()
    monkeypatch.setenv(variable, str(given))
    build.ensure(["etcd"])
    assert build.find("etcd") == given / "etcd"
    assert build.locate("kubectl") is None
    assert not _builds(fake)


def test_our_own_variable_comes_first(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in build.OVERRIDES:
        (fake / variable).mkdir()
        (fake / variable / "etcd").touch()
        monkeypatch.setenv(variable, str(fake / variable))
    assert build.find("etcd").parent.name == "CONNECT_AUTOSCALER_SANDBOX_BIN"


def test_plain_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_HEARTBEAT", 0.01)
    output = io.StringIO()
    with Progress(2, Console(file=output)) as shown, shown.step("etcd 3.6.14") as step:
        step.expect(812)
        step.advance()
        assert poll(lambda: "still building etcd 3.6.14: 1 of 812 packages after 0 min" in output.getvalue(), timeout=5)
    lines = output.getvalue().splitlines()
    assert lines[0] == "building etcd 3.6.14 (1 of 2) ..."
    assert lines[-1] == "done in 0 s"


def test_a_bar_on_a_terminal() -> None:
    output = io.StringIO()
    with Progress(1, Console(file=output, force_terminal=True, width=120)) as shown, shown.step("etcd 3.6.14") as step:
        step.expect(4)
        step.advance()
        assert poll(lambda: "1/4" in output.getvalue(), timeout=5)
    assert "building etcd 3.6.14 (1 of 1)" in output.getvalue()
    assert "4/4" in output.getvalue()
