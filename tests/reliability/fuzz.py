"""Carries out the fuzzing, or a part of it: `python -m reliability.fuzz --help`.

Inputs are numbered, and each follows from the seed and its number alone. A batch runs in a process of its own with
little memory to spare; what makes it fail is made smaller and saved, with what is needed to see it again.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

from harness import ROOT
from reliability import operations_figures as figures
from reliability.fuzz_inputs import rng
from reliability.fuzz_targets import TARGETS
from reliability.results import commit

DEFAULT: Final = ROOT / "build" / "reliability" / "fuzz.jsonl"
SEED: Final = 20260301
BATCH: Final = 2500
_MEMORY: Final = 300 << 20
"""Bytes that a batch may need beyond what the process has when it begins."""
_PATIENCE: Final = 10.0
"""Seconds of CPU that an input may take."""
_TRIES: Final = 400
_ORDER: Final = [name for name, target in TARGETS.items() for _ in range(target.share)]


@dataclass(frozen=True)
class Failure:
    """An input that was not taken as it should be."""

    target: str
    seed: int
    number: int
    error: str
    smallest: str


@dataclass(frozen=True)
class Batch:
    """What became of a batch."""

    name: str
    verdict: str
    seconds: float
    commit: str
    inputs: dict[str, int]
    peak: int = 0
    """MiB of memory, at most."""
    slowest: float = 0.0
    """Seconds of CPU for one input, at most."""
    failures: list[Failure] = field(default_factory=list)
    kind: str = "fuzz"
    time: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


class TooSlowError(Exception):
    """Raised within an input that takes too long."""


def target_of(number: int) -> str:
    """Return what an input is for: all are mixed, in the proportion of their shares."""
    return _ORDER[number * 37 % len(_ORDER)]


def fault(target: str, document: Any) -> Exception | None:
    """Return what is wrong with how an input is taken; None: nothing is."""
    signal.setitimer(signal.ITIMER_PROF, _PATIENCE)
    try:
        TARGETS[target].take(document)
    except Exception as error:  # noqa: BLE001 - to find these is what it is for
        return error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def smaller(document: Any, fails: Callable[[Any], bool]) -> Any:
    """Return as little of a document as still fails."""
    tries, shrunk = 0, True
    while shrunk and tries < _TRIES:
        shrunk = False
        for candidate in _less(document):
            tries += 1
            if fails(candidate):
                document, shrunk = candidate, True
                break
            if tries >= _TRIES:
                break
    return document


def _less(document: Any) -> Iterator[Any]:
    """Yield the document without one thing, the outer ones first."""
    if isinstance(document, dict):
        yield from ({k: v for k, v in document.items() if k != key} for key in document)
        yield from ({**document, key: less} for key, below in document.items() for less in _less(below))
    elif isinstance(document, list):
        yield from (document[:n] + document[n + 1 :] for n in range(len(document)))
        yield from (
            [*document[:n], less, *document[n + 1 :]] for n, below in enumerate(document) for less in _less(below)
        )


def _child(seed: int, first: int, last: int) -> None:
    """Take a batch, and print what came of it."""

    def ring(_: int, __: FrameType | None) -> None:
        raise TooSlowError(f"more than {_PATIENCE:.0f} s of CPU")

    signal.signal(signal.SIGPROF, ring)
    began = time.monotonic()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _MEMORY, size + _MEMORY))
    inputs: Counter[str] = Counter()
    failures, slowest = [], 0.0
    for number in range(first, last):
        target = target_of(number)
        os.write(2, f"{number}\n".encode())
        document = TARGETS[target].make(rng(seed, target, number))
        started = time.process_time()
        error = fault(target, document)
        slowest = max(slowest, time.process_time() - started)
        inputs[target] += 1
        if error is not None:
            failures.append(_failure(target, seed, number, document, error))
    # Not ru_maxrss, which a process inherits from the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) // 1024
    seconds, verdict = round(time.monotonic() - began, 1), "failed" if failures else "survived"
    name = f"seed {seed}, inputs {first} to {last}"
    print(json.dumps(asdict(Batch(name, verdict, seconds, commit(), dict(inputs), peak, round(slowest, 2), failures))))


def _failure(target: str, seed: int, number: int, document: Any, error: Exception) -> Failure:
    def alike(candidate: Any) -> bool:
        found = fault(target, candidate)
        return found is not None and _words(found) == _words(error)

    return Failure(target, seed, number, _words(error), json.dumps(smaller(document, alike))[:20_000])


def _words(error: Exception) -> str:
    at = traceback.extract_tb(error.__traceback__)[-1]
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "connect_autoscaler" in frame.filename]
    at = own[-1] if own else at
    return f"{type(error).__name__} at {Path(at.filename).name}:{at.name}"


def batch(seed: int, first: int, last: int) -> Batch:
    """Take a batch in a process of its own."""
    command = [sys.executable, "-m", "reliability.fuzz", "--child", str(first), str(last), "--seed", str(seed)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'operator'}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=ROOT)
    if done.returncode == 0:
        raw = json.loads(done.stdout)
        return Batch(**{**raw, "failures": [Failure(**each) for each in raw["failures"]]})
    lines = [line for line in done.stderr.splitlines() if line.isdecimal()]
    number = int(lines[-1]) if lines else first
    words = f"the process ended with {done.returncode}: {done.stderr[-500:]}"
    failure = Failure(target_of(number), seed, number, words, "")
    return Batch(f"seed {seed}, inputs {first} to {last}", "failed", 0.0, commit(), {}, failures=[failure])


def save(found: Batch, directory: Path) -> None:
    """Write down each failure of a batch."""
    for each in found.failures:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{each.target}-{each.seed}-{each.number}.json").write_text(json.dumps(asdict(each), indent=2))


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if an input fails, else 0."""
    parser = argparse.ArgumentParser(prog="python -m reliability.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="what all inputs follow from (%(default)s)")
    parser.add_argument("--shard", default="1/1", help="which part of how many, such as 2/4")
    parser.add_argument("--again", action="store_true", help="also what was carried out before")
    parser.add_argument("--results", type=Path, default=DEFAULT, help="file to add results to (%(default)s)")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        _child(options.seed, *options.child)
        return 0
    part, parts = map(int, options.shard.split("/"))
    done = {each["name"] for each in figures.read(options.results) if each["verdict"] == "survived"}
    good = True
    for number, first in enumerate(range(0, options.inputs, BATCH)):
        last = min(first + BATCH, options.inputs)
        if number % parts != part - 1 or (
            not options.again and f"seed {options.seed}, inputs {first} to {last}" in done
        ):
            continue
        found = batch(options.seed, first, last)
        figures.append(options.results, asdict(found))
        save(found, options.results.parent / "fuzz")
        good = good and not found.failures
        print(
            f"{found.name}: {found.verdict} in {found.seconds:.0f} s, {found.peak} MiB, slowest {found.slowest} s",
            flush=True,
        )
        for each in found.failures:
            print(
                f"    {each.target} {each.number} (seed {each.seed}): {each.error}: {each.smallest[:300]}", flush=True
            )
    figures.write()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
