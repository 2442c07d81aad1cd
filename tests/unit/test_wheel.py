"""What users install: the wheel, in an environment of its own, away from the repository."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from connect_autoscaler import __version__
from connect_autoscaler.api.conditions import Reason
from harness import ROOT
from sandbox.build import find

PACKAGE = ROOT / "operator" / "connect_autoscaler"


def uv(*arguments: str | Path) -> None:
    done = subprocess.run([find_uv_bin(), *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of the repository without any download."""
    target = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--offline", "--no-build-isolation", "--python", sys.executable, "--out-dir", target, ROOT)
    (made,) = target.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its programs, in a new environment that borrows only what the wheel depends on."""
    home = tmp_path_factory.mktemp("venv") / "venv"
    uv("venv", "--offline", "--python", sys.executable, home)
    uv("pip", "install", "--offline", "--no-deps", "--no-index", "--python", home / "bin/python", wheel)
    (site,) = (home / "lib").glob("python*/site-packages")
    # A path in a .pth file comes last, and .pth files in there, such as that of our editable install, do not count.
    (site / "borrowed.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")))
    return home / "bin"


def run(programs: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program as a user does, who knows nothing of the repository."""
    env = {"PATH": f"{programs}{os.pathsep}{os.defpath}", "HOME": str(programs), "COLUMNS": "80"}
    return subprocess.run(command, cwd=programs, env=env, capture_output=True, text=True, check=False)


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (about,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(about).decode()
    there = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == {str(path.relative_to(PACKAGE.parent)) for path in there}
    assert "connect_autoscaler/py.typed" in names
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nRequires-Dist: kopf" in metadata


def test_it_is_what_runs(programs: Path) -> None:
    shown = run(programs, programs / "python", "-c", "import connect_autoscaler as it; print(it.__file__)")
    assert Path(shown.stdout.strip()).is_relative_to(programs.parent), shown.stderr


def test_its_programs_run(programs: Path) -> None:
    version = run(programs, programs / "connect-autoscaler", "version", "--client", "-o", "json")
    assert json.loads(version.stdout) == {"client": __version__}, version.stderr
    operator = run(programs, programs / "python", "-m", "connect_autoscaler", "run", "--help")
    assert "Usage: connect-autoscaler run [OPTIONS]" in operator.stdout, operator.stderr
    nowhere = run(programs, programs / "connect-autoscaler", "run")
    assert (nowhere.returncode, "Traceback" in nowhere.stderr) == (1, False)
    assert "no cluster to work on" in nowhere.stderr, "it has come as far as that with all that the operator imports"
    elected = run(programs, programs / "connect-autoscaler", "run", "--leader-elect")
    assert (elected.returncode, "--leader-elect needs a namespace" in elected.stderr) == (2, True)
    explained = run(programs, programs / "connect-autoscaler", "explain", Reason.FORBIDDEN)
    assert explained.stdout == f"{Reason.FORBIDDEN}: {Reason.FORBIDDEN.explain}\n"


def test_kubectl_finds_its_plugin(programs: Path) -> None:
    kubectl = find("kubectl")
    listed = run(programs, kubectl, "plugin", "list")
    assert str(programs / "kubectl-connect_autoscaler") in listed.stdout, listed.stderr
    called = run(programs, kubectl, "connect-autoscaler", "--help")
    assert called.stdout.startswith("Usage: kubectl connect-autoscaler [OPTIONS] COMMAND"), called.stderr
