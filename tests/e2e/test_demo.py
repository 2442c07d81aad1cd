"""`python -m demo`, as users run it: in a session of its own, with its output in a pipe."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unit.chromium import browser

PICTURES = 4


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


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What a whole demo said, and its page."""
    scratch, target = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("build") / "new" / "page.html"
    with demo(scratch, "--page", str(target)) as process:
        said, _ = process.communicate(timeout=280)
    assert process.returncode == 0, said
    assert leftovers(scratch) == []
    return said, target


def test_everything_is_healed_and_nothing_is_left(played: tuple[str, Path]) -> None:
    said, target = played
    assert said.splitlines()[-1] == f"The page of it: {target}"
    assert "Traceback" not in said
    summary = said.partition("Summary")[2]
    assert len(re.findall(r"\d+\.\d +healed", summary)) == 5, said
    assert re.search(r"production +True +False +1/1", summary), said
    places = re.findall(r"^ ?(connect-\S+) +\S+ +(spot|on-demand) +(\S+) *$", said, re.MULTILINE)
    first, second = places
    assert first[1:] == ("spot", "default")  # the danger that a profile is against
    assert second[0].startswith("connect-rstudio-connect-")
    assert second[1:] == ("on-demand", "connect-server")
    assert "Waits until content ends that it would orphan (render-sales-report-" in " ".join(said.split())
    assert "One upgrade, one restart, no render lost" in said
    assert re.search(r"^ ?run-dashboard-\S+ +\S+ +on-demand +connect-content *$", said, re.MULTILINE), said


def test_the_page_tells_of_what_happened(played: tuple[str, Path]) -> None:
    said, target = played
    page = target.read_text()
    assert page.count('<img src="data:image/svg+xml;base64,') == PICTURES
    for pod in re.findall(
        r"^ ?((?:connect-rstudio-connect|render-sales-report|run-dashboard)-\S+)", said, re.MULTILINE
    ):
        assert pod in page
    (corrections,) = re.findall(r'aria-label="Corrections as a table".*?</table>', page, re.DOTALL)
    seen = [float(each) for each in re.findall(r"<td class=number>([\d.]+)</td></tr>", corrections)]
    (done,) = re.findall(r'aria-label="What colleagues did.*?</table>', page, re.DOTALL)
    asked = [float(each) for each in re.findall(r"<td class=number>([\d.]+)</td>", done)]
    assert len(seen) == len(asked) == 5
    late = 1000  # milliseconds that one of the two watches may be read later than the other
    assert all(0 < watched < request + late for watched, request in zip(seen, asked, strict=True)), (seen, asked)
    assert "/spec/disruption/consolidationPolicy" in corrections
    for words in ("<td>Ready</td><td>False</td><td>Deferred</td>", "<td>spot</td>", "<td>Succeeded</td>", "USD/h"):
        assert words in page
    assert "Not seen" not in page


@pytest.mark.debian
async def test_a_browser_shows_the_page(played: tuple[str, Path], tmp_path: Path) -> None:
    _, target = played
    async with browser(tmp_path) as tab:
        await tab.open(target.as_uri())
        await tab.prefer("dark")
        assert await tab.evaluate("[...document.images].map(i => i.naturalWidth > 600)") == [True] * PICTURES
        assert tab.asked() <= {"file", "data"}
        assert tab.complaints() == []


@pytest.mark.parametrize("module", [["demo"], ["recorder", "production", "-n", "posit", "--seconds", "1"]])
def test_a_page_that_cannot_be_written_is_told_in_a_sentence(module: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", *module, "--page", str(tmp_path / "file" / "page.html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"(?i)error: cannot (make|write) .*: .*; .*--page\n", done.stderr), done.stderr


def test_a_kubeconfig_that_is_none_is_told_in_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recorder", "production", "-n", "posit", "--page", str(tmp_path / "page.html")]
    (tmp_path / "kubeconfig").write_text("nothing")
    for environment in ({"KUBECONFIG": str(tmp_path / "missing")}, {"KUBECONFIG": str(tmp_path / "kubeconfig")}):
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]  # the library has its own line about a file that is missing
        assert re.fullmatch(r"Error: no cluster to watch: .*; name one with --kubeconfig", last), done.stderr


@pytest.mark.long
def test_keep_stays_until_ctrl_c(tmp_path: Path) -> None:
    scratch = tmp_path / "demo"
    scratch.mkdir()
    with demo(scratch, "--keep", "--page", str(tmp_path / "page.html")) as process:
        said = read_until(process, "Ctrl-C here stops everything")
        (kubeconfig,) = re.findall(r"^export KUBECONFIG=(\S+)$", said, re.MULTILINE)
        (programs,) = re.findall(r'^export PATH=(\S+):"\$PATH"$', said, re.MULTILINE)
        kubectl = [f"{programs}/kubectl", "get", "cap", "production", "-o", "jsonpath={.status.server}"]
        environment = {"KUBECONFIG": kubeconfig, "HOME": str(tmp_path)}
        seen = subprocess.run(kubectl, env=environment, capture_output=True, text=True, check=True)
        assert seen.stdout == "1/1"
        record = [sys.executable, "-m", "recorder", "production", "-n", "posit", "--kubeconfig", kubeconfig]
        record += ["--seconds", "2", "--page", str(tmp_path / "mine.html")]
        recorded = subprocess.run(record, capture_output=True, text=True, check=True)
        assert recorded.stdout == f"The page: {tmp_path / 'mine.html'}\n"
        assert "Server connect-rstudio-connect-" in (tmp_path / "mine.html").read_text()
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    assert leftovers(scratch) == []


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    scratch = tmp_path / "demo"
    scratch.mkdir()
    with demo(scratch, "--page", str(tmp_path / "page.html")) as process:
        said = read_until(process, "start the operator as the ServiceAccount")
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, said + rest
    assert "Traceback" not in rest
    assert leftovers(scratch) == []
    assert not (tmp_path / "page.html").exists()
