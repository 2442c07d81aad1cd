"""The project itself: its layout, its lock files, and that they belong to pyproject.toml."""

import operator
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME: list[str] = PROJECT["project"]["dependencies"]
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
LOCKS = {
    "requirements.lock": RUNTIME,
    "requirements-dev.lock": [*RUNTIME, *GROUPS["dev"]],
    "requirements-go.lock": GROUPS["go"],
    "requirements-uv.lock": [each for each in GROUPS["dev"] if Requirement(each).name == "uv"],
}
PIN = re.compile(
    r"^(?P<name>[a-z0-9.-]+)(?:\[[a-z,]+\])?==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+))?", re.MULTILINE
)


def pins(lock: str) -> dict[str, tuple[str, str | None]]:
    every = PIN.finditer((ROOT / lock).read_text())
    found = sorted(every, key=lambda pin: applies(pin["marker"]))  # of several versions, that for this Python counts
    return {canonicalize_name(pin["name"]): (pin["version"], pin["marker"]) for pin in found}


def applies(marker: str | None) -> bool:
    return marker is None or bool(Requirement(f"x ; {marker}").marker.evaluate())  # type: ignore[union-attr]


def closure(requirements: Iterable[str]) -> Iterator[str]:
    """Everything that these requirements need on this machine, by the metadata of what is installed."""
    todo, seen = [Requirement(each) for each in requirements], set[tuple[str, str]]()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for each in metadata.requires(name) or ():
                needed = Requirement(each)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    todo.append(needed)
        yield name


def test_operator_is_still_the_standard_library() -> None:
    """A package of that name would shadow it, and nothing would start from the repository's root any more."""
    assert not (ROOT / "operator/__init__.py").exists()
    assert {path.name for path in (ROOT / "operator").iterdir()} - {"__pycache__"} == {"connect_autoscaler"}
    assert Path(str(operator.__file__)).is_relative_to(Path(sys.base_prefix))
    ran = subprocess.run([sys.executable, "-c", "import operator; operator.itemgetter(0)"], cwd=ROOT, check=False)
    assert ran.returncode == 0


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_pin_with_hashes_and_name_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text
    entries = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert entries
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_are_not_stale(lock: str) -> None:
    pinned = pins(lock)
    for each in LOCKS[lock]:
        requirement = Requirement(each)
        version, _ = pinned[canonicalize_name(requirement.name)]
        assert Version(version) in requirement.specifier, f"{each}: make lock"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_hold_what_is_needed_and_nothing_else(lock: str) -> None:
    here = {name for name, (_, marker) in pins(lock).items() if applies(marker)}
    assert here == set(closure(LOCKS[lock])), "make lock"


def test_what_is_installed_is_what_is_locked() -> None:
    for name, (version, marker) in pins("requirements-dev.lock").items():
        if applies(marker):
            assert metadata.version(name) == version, f"{name}: make test installs it"


def test_modules_can_be_read_in_one_sitting() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / "operator").rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert long == {}
