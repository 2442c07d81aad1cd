"""The Dockerfile, as far as it can be judged without a daemon: pins, users, sources, and that its steps work."""

import fnmatch
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from uv import find_uv_bin

from connect_autoscaler import __version__
from harness import ROOT
from sandbox.tools import tool_of

TEXT: Final = (ROOT / "Dockerfile").read_text()
IGNORED: Final = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
ENVIRONMENT: Final = {"PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "HOME"}


def instructions() -> list[tuple[str, str]]:
    """Return every instruction and its arguments; continued lines are joined."""
    lines = [line for line in TEXT.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def stages() -> list[list[tuple[str, str]]]:
    result: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            result.append([])
        result[-1].append((word, rest))
    return result


def of(kind: str, stage: list[tuple[str, str]] | None = None) -> list[str]:
    return [rest for word, rest in stage or instructions() if word == kind]


def sources() -> Iterator[str]:
    for rest in of("COPY"):
        if not rest.startswith("--from="):
            yield from rest.split()[:-1]


def sent(path: str) -> bool:
    """Tell whether .dockerignore lets a path into the build's context; the last line that fits decides."""
    result = True
    for line in IGNORED:
        pattern, back = line.removeprefix("!").removeprefix("**/"), line.startswith("!")
        parts = Path(path).parts
        prefixes = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        if any(fnmatch.fnmatchcase(each, pattern) for each in (*prefixes, *parts)):
            result = back
    return result


def hadolint(text: str) -> dict[str, str]:
    """Return what hadolint finds, by rule; rules that it is told to pass over in a comment count as well."""
    program = str(Path(sys.executable).with_name("hadolint"))
    command = [program, "--disable-ignore-pragma", "--no-fail", "--format=json", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT)
    return {each["code"]: each["message"] for each in json.loads(done.stdout)}


def test_hadolint_finds_nothing() -> None:
    assert hadolint(TEXT) == {}


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        (r":3.13.15-slim-trixie@sha256:\w+", ":latest", "DL3007"),
        (r":3.13.15-slim-trixie@sha256:\w+", "", "DL3006"),
        (r"USER 65532:65532", "USER root", "DL3002"),
        (r" --no-cache-dir", "", "DL3042"),
        (r"-r requirements-uv.lock", "uv", "DL3013"),
        (r'CMD \["run"\]', "CMD run", "DL3025"),
        (r"rm -r /app/bin", "ls | rm -r /app/bin", "DL4006"),
        (r"WORKDIR /src", "RUN apt-get install git", "DL3008"),
        (r"rm -r /app/bin", "rm -r `cat list`", "SC2006"),
    ],
)
def test_hadolint_finds_what_is_wrong(right: str, wrong: str, rule: str) -> None:
    assert rule in hadolint(re.sub(right, wrong, TEXT))


def test_bases_are_pinned_by_digest() -> None:
    bases = [re.sub(r"--platform=\S+ ", "", each).split(" AS ")[0] for each in of("FROM")]
    assert len(bases) == 3
    for base in bases:
        assert re.fullmatch(r"\S+/\S+:[^@:]+@sha256:[0-9a-f]{64}", base), base
        assert ":latest" not in base


def test_packages_are_locked_with_hashes() -> None:
    installs = [
        each for each in re.split(r"&&|\n", "\n".join(of("RUN"))) if "pip install" in each or "uv build" in each
    ]
    assert len(installs) == 4
    for each in installs:
        ours = "dist/*.whl" in each
        assert ("--no-deps --no-index" if ours else "--require-hashes") in each, each
    assert not re.search(r"\b(?:apt|apt-get|apk|curl|wget|git)\b", "\n".join(of("RUN")))
    assert not of("ADD")


def test_the_last_stage_runs_as_nobody_without_a_shell() -> None:
    last = stages()[-1]
    assert of("USER", last) == ["65532:65532"]
    assert not of("RUN", last)
    assert of("ENTRYPOINT", last) == ['["/usr/bin/python3", "-m", "connect_autoscaler"]']
    assert of("CMD", last) == ['["run"]']
    assert {each.partition("=")[0] for each in of("ENV", last)[0].split()} == ENVIRONMENT
    labels = dict(re.findall(r'(\S+)="([^"]*)"', of("LABEL", last)[0]))
    assert labels["org.opencontainers.image.version"] == __version__
    for copied in of("COPY", last):
        assert copied.startswith("--from=")


def test_python_is_the_same_in_both_stages() -> None:
    build, last = (of("FROM", stage)[0] for stage in stages()[1:])
    assert "python:3.13." in build
    assert "-trixie@" in build
    assert "python3-debian13:" in last  # Debian 13 is trixie, whose Python is 3.13


def test_helm_is_the_one_that_tests_run() -> None:
    version = tool_of("helm").version
    assert f"version.version=v{version}" in TEXT
    assert "helm.sh/helm/v4/cmd/helm" in TEXT
    copied = next(each for each in sources() if each.endswith("go.mod"))
    assert (ROOT / copied).parent == tool_of("helm").directory
    checked = (ROOT / "deploy/image/helm.sha256").read_text().splitlines()
    assert [re.fullmatch(r"[0-9a-f]{64}  linux-(\w+)/helm", line)[1] for line in checked] == ["amd64", "arm64"]  # type: ignore[index]
    assert "sha256sum --check --strict --ignore-missing helm.sha256" in TEXT


@pytest.mark.parametrize("source", list(sources()))
def test_what_is_copied_exists_and_is_sent(source: str) -> None:
    assert (ROOT / source).exists()
    assert sent(source)


@pytest.mark.parametrize("path", [".git/config", ".venv/bin/python", "tests/conftest.py", "deploy/base/rbac.yaml"])
def test_nothing_else_is_sent(path: str) -> None:
    assert not sent(path)
    assert not sent("operator/connect_autoscaler/__pycache__/runner.cpython-311.pyc")


def test_the_wheel_is_made_of_what_is_sent(tmp_path: Path) -> None:
    """Build and unpack as the Dockerfile does, of its sources alone; the packages are those of this environment."""
    context, target = tmp_path / "context", tmp_path / "app"
    for source in sources():
        files = [path for path in (ROOT / source).rglob("*") if path.is_file()] or [ROOT / source]
        for path in files:
            name = str(path.relative_to(ROOT))
            if sent(name):
                (context / name).parent.mkdir(parents=True, exist_ok=True)
                (context / name).write_bytes(path.read_bytes())

    def uv(*arguments: str | Path) -> None:
        command = [find_uv_bin(), *arguments, "--python", sys.executable]
        done = subprocess.run(command, cwd=context, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    uv("build", "--wheel", "--no-build-isolation", "--out-dir", "dist")
    (wheel,) = (context / "dist").glob("*.whl")
    uv("pip", "install", "--target", target, "--no-deps", "--no-index", wheel)
    code = "import connect_autoscaler as it; print(it.__file__, it.__version__)"
    site = next(path for path in sys.path if path.endswith("site-packages"))
    env = {"PYTHONPATH": f"{target}:{site}", "PYTHONSAFEPATH": "1"}
    run = subprocess.run([sys.executable, "-S", "-c", code], env=env, check=True, capture_output=True, text=True)
    assert run.stdout.split() == [str(target / "connect_autoscaler/__init__.py"), __version__]
