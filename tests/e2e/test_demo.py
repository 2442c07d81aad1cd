"""`python -m demo`, as users run it: in a session of its own, with its output in a pipe."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def demo(scratch: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], line: str) -> str:
    """Read what is said up to the first line with these words in it."""
    assert process.stdout is not None
    said = ""
    for each in process.stdout:
        said += each
        if line in each:
            return said
    raise AssertionError(f"it never said {line!r}:\n{said}")


def leftovers(scratch: Path) -> list[str]:
    """Return the processes that have to do with a demo (each names the directory in its arguments), and its files."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(scratch) in line] + [str(p) for p in scratch.iterdir()]


def test_everything_is_healed_and_nothing_is_left(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    summary = said.partition("Summary")[2]
    assert len(re.findall(r"\d+\.\d +healed", summary)) == 5, said
    assert re.search(r"production +True +False +1/1", summary), said
    first, *_, second = re.findall(r"^ ?(\S+) +\S+ +(spot|on-demand) +(\S+) *$", said, re.MULTILINE)
    assert first[1:] == ("spot", "default")  # the danger that a profile is against
    assert second[0].startswith("connect-rstudio-connect-")
    assert second[1:] == ("on-demand", "connect-server")
    assert "One upgrade, one restart" in said
    assert leftovers(tmp_path) == []


def test_keep_stays_until_ctrl_c(tmp_path: Path) -> None:
    scratch = tmp_path / "demo"
    scratch.mkdir()
    with demo(scratch, "--keep") as process:
        said = read_until(process, "Ctrl-C here stops everything")
        (kubeconfig,) = re.findall(r"^export KUBECONFIG=(\S+)$", said, re.MULTILINE)
        (programs,) = re.findall(r'^export PATH=(\S+):"\$PATH"$', said, re.MULTILINE)
        kubectl = [f"{programs}/kubectl", "get", "cap", "production", "-o", "jsonpath={.status.server}"]
        environment = {"KUBECONFIG": kubeconfig, "HOME": str(tmp_path)}
        seen = subprocess.run(kubectl, env=environment, capture_output=True, text=True, check=True)
        assert seen.stdout == "1/1"
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    assert leftovers(scratch) == []


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        said = read_until(process, "start the operator as the ServiceAccount")
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, said + rest
    assert "Traceback" not in rest
    assert leftovers(tmp_path) == []
