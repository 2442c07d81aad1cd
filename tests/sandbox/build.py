"""Builds the pinned programs once per user, into the cache, and finds them again."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from sandbox.errors import SandboxError, tail
from sandbox.progress import Progress, Step
from sandbox.toolchain import cache_dir, find_go
from sandbox.tools import GO_ENV, PEERS, TOOLS, Tool, tool_of

# Directories with ready programs, the first one first: our own variable, then the one of the envtest layout.
OVERRIDES = ("CONNECT_AUTOSCALER_SANDBOX_BIN", "KUBEBUILDER_ASSETS")


def locate(output: str) -> Path | None:
    """Return where a program or a directory of files is; None if it is not built yet.

    Args:
        output: A name out of `Tool.outputs`, such as `kube-apiserver` or `karpenter-1.14-crds`.
    """
    given = (Path(os.environ[name], output) for name in OVERRIDES if os.environ.get(name))
    return next((path.resolve() for path in (*given, _home(tool_of(output)) / output) if path.exists()), None)


def find(output: str) -> Path:
    """Return where a program or a directory of files is.

    Raises:
        SandboxError: If it is not built yet.
    """
    path = locate(output)
    if path is None:
        tool = tool_of(output)
        raise SandboxError(
            f"{output} ({tool.title}) is not built yet: run `python -m sandbox build`, or name a directory that has it "
            f"in {OVERRIDES[0]}"
        )
    return path


def ensure(outputs: Iterable[str]) -> None:
    """Build what is missing of these. Two processes at once do not clash: the second one waits.

    Args:
        outputs: Names out of `Tool.outputs`.

    Raises:
        SandboxError: If a build fails; its text ends with the last lines of the build's output.
    """
    missing = {output for output in outputs if locate(output) is None}
    todo = [tool for tool in (*TOOLS, *PEERS) if missing.intersection(tool.outputs)]
    if not todo:
        return
    go = find_go()
    with Progress(len(todo)) as progress:
        for tool in todo:
            _build(go, tool, missing.intersection(tool.outputs), progress)


def _home(tool: Tool) -> Path:
    return cache_dir() / "bin" / f"{tool.name}-{tool.digest}"


def _build(go: Path, tool: Tool, wanted: Iterable[str], progress: Progress) -> None:
    home = _home(tool)
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{home}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(f"waiting for another build of {tool.title} ...")
        lock.acquire()
    try:
        missing = [name for name in wanted if locate(name) is None]
        if missing:
            for left in home.glob(".new-*"):  # by a build that was killed
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=home, prefix=".new-") as scratch, progress.step(tool.title) as step:
                _copy_files(go, tool, missing, Path(scratch))
                _compile(go, tool, [name for name in missing if name in tool.binaries], Path(scratch), step)
                for name in missing:
                    Path(scratch, name).rename(home / name)
    finally:
        lock.release()


def _compile(go: Path, tool: Tool, names: Sequence[str], scratch: Path, step: Step) -> None:
    if not names:
        return
    packages = sorted(tool.binaries[name] for name in names)
    step.expect(len(_run(go, tool, "list", "-deps", *packages).splitlines()))
    # With several packages the target is a directory, and each file gets the last part of its package's name.
    target = scratch / names[0] if len(names) == 1 else f"{scratch}/"
    command = [str(go), "build", "-v", "-ldflags", tool.ldflags, "-o", str(target), *packages]
    with subprocess.Popen(
        command, cwd=tool.directory, env=_environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        output = []
        try:
            for line in process.stderr:  # -v: one line for every package that is compiled
                output.append(line)
                step.advance()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise _failed(tool, "go build", process.returncode, "".join(output))


def _copy_files(go: Path, tool: Tool, missing: Iterable[str], scratch: Path) -> None:
    wanted = [name for name in tool.files if name in missing]
    if not wanted:
        return
    # `go list -m` prints an empty line for a module that was not downloaded yet; this downloads and tells.
    source = Path(json.loads(_run(go, tool, "mod", "download", "-json", tool.module))["Dir"])
    for name in wanted:
        target = scratch / name
        target.mkdir()
        for pattern in tool.files[name]:
            found = sorted(source.glob(pattern))
            if not found:
                raise SandboxError(f"{tool.title} has no {pattern}")
            for path in found:
                shutil.copyfile(path, target / path.name)  # not its mode: the module cache is read-only


def _run(go: Path, tool: Tool, *arguments: str) -> str:
    run = subprocess.run(
        [go, *arguments], cwd=tool.directory, env=_environment(), capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise _failed(tool, f"go {arguments[0]}", run.returncode, run.stderr or run.stdout)
    return run.stdout


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in {"GOROOT", "GOOS", "GOARCH"}}
    return {**inherited, **GO_ENV}


def _failed(tool: Tool, what: str, code: int, output: str) -> SandboxError:
    return SandboxError(
        f"building {tool.title} failed ({what} ended with code {code}); its last lines:\n{tail(output)}"
    )
