"""Which Go builds the control plane, and which versions are built."""

from pathlib import Path

import pytest
from packaging.version import Version

from sandbox import toolchain
from sandbox.tools import DEMO, TOOLS, Tool, tool_of


def _fake_go(directory: Path, says: str) -> Path:
    directory.mkdir()
    go = directory / "go"
    go.write_text(f"#!/bin/sh\necho '{says}'\n")
    go.chmod(0o755)
    return go


def test_the_highest_go_line_counts() -> None:
    assert toolchain.needed(["module a\n\ngo 1.26.0\n", "module b\n\ngo 1.26.10\n", "go 1.9\n"]) == Version("1.26.10")


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("go version go1.26.9 linux/amd64\n", "1.26.9"),
        ("go version go1.27rc1 darwin/arm64\n", "1.27rc1"),
        ("go version go1.26.9-custom linux/amd64\n", None),
        ("go version devel go1.28-abcdef linux/amd64\n", None),
        ("", None),
    ],
)
def test_reads_what_go_prints(printed: str, version: str | None) -> None:
    assert toolchain.parse_version(printed) == (Version(version) if version else None)


@pytest.mark.parametrize(
    ("own", "accepted"), [("1.26.9", True), ("1.27.0", True), ("1.27rc1", True), ("1.26.8", False), ("1.9", False)]
)
def test_its_own_go_is_used_only_if_new_enough(tmp_path: Path, own: str, *, accepted: bool) -> None:
    go = _fake_go(tmp_path / "bin", f"go version go{own} linux/amd64")
    assert toolchain.new_enough(str(go), Version("1.26.9")) is accepted


def test_go_on_the_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = _fake_go(tmp_path / "bin", "go version go99.0 linux/amd64")
    monkeypatch.setenv("PATH", str(go.parent), prepend=":")
    assert toolchain.find_go() == go


def test_an_old_go_is_replaced_by_the_pinned_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = _fake_go(tmp_path / "bin", "go version go1.20.1 linux/amd64")
    monkeypatch.setenv("PATH", str(go.parent), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(toolchain, "find_uv_bin", lambda: str(_fake_uv(tmp_path)))
    found = toolchain.find_go()
    assert found.is_relative_to(tmp_path / "cache" / "connect-autoscaler")
    assert found.name == "go"
    assert toolchain.find_go() == found
    assert (tmp_path / "uv-runs").read_text().count("--require-hashes") == 1


def _fake_uv(tmp_path: Path) -> Path:
    uv = tmp_path / "uv"
    uv.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/uv-runs\n'
        'while [ "$1" != --target ]; do shift; done\nmkdir -p "$2/go/bin"\ntouch "$2/go/bin/go"\n'
    )
    uv.chmod(0o755)
    return uv


def test_versions_come_from_go_mod() -> None:
    for tool in TOOLS:
        assert f"{tool.module} v{tool.version}" in (tool.directory / "go.mod").read_text()
    release = tool_of("karpenter-1.15")
    assert release.version.startswith("1.15.")
    assert release.ldflags.endswith(f"operator.Version={release.version}")
    server = tool_of("kube-apiserver")
    major, minor, _ = server.version.split(".")
    assert f"gitVersion=v{server.version} " in server.ldflags
    assert f"gitMajor={major} " in server.ldflags
    assert server.ldflags.endswith(f"gitMinor={minor}")


def test_outputs_do_not_clash() -> None:
    outputs = [output for tool in TOOLS for output in tool.outputs]
    assert len(outputs) == len(set(outputs))
    assert {tool.name for tool in TOOLS} - {tool.name for tool in DEMO} == {"karpenter-1.15", "kubescore"}


def test_the_digest_follows_the_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.tools.MODULES", tmp_path)
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "go.mod").write_text("module x\n\nrequire example.org/tool v1.2.3\n")
    (tmp_path / "tool" / "go.sum").write_text("")
    first, other_flags = _tool(), _tool("example.org/tool.Version={version}")
    assert first.version == "1.2.3"
    assert first.digest == _tool().digest
    assert first.digest != other_flags.digest
    (tmp_path / "tool" / "go.sum").write_text("changed")
    assert first.digest != _tool().digest


def _tool(*variables: str) -> Tool:
    return Tool("tool", "example.org/tool", {"tool": "example.org/tool"}, variables)
