"""Fixtures that every test may use: real control planes, started once and shared by the whole run.

A program that is not built fails the tests that need it, with the command that builds it; nothing is skipped.
Tests share a cluster, so they name their objects apart and clean up what is not namespaced.
"""

import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import PurePath
from typing import Final

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from sandbox import Cluster, Parts, cluster

# The same examples in every run, or one that has nothing to do with a change might fail it.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")
# What a shell starts in the background ignores Ctrl-C, and so would all programs that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)
pytest.register_assert_rewrite("unit.apply", "unit.reporting")  # tests of several folders use them

_TOGETHER: Final = {
    "stages": ("e2e/deletion", "e2e/karpenter", "e2e/losses", "e2e/protection_ends"),
    "oldest": ("e2e/admission", "e2e/old_karpenter"),
    "api_cluster": ("integration/chart", "integration/crd_models", "integration/crd_rules", "integration/deploy"),
}
"""Modules that share what takes long to start, by its fixture."""
_FIRST: Final = (
    "stages",
    "e2e/scenarios",
    *("e2e/release_faults", "e2e/release_drift", "e2e/release_gates", "e2e/placement", "e2e/jobs"),
    *("e2e/release_reasons", "e2e/release_secrets", "e2e/release", "e2e/release_owners", "e2e/connect_content"),
    *("reliability/plans", "reliability/surroundings", "e2e/release_replicas", "e2e/release_fights", "e2e/tutorial"),
    *("integration/replicas", "integration/deploy_overlays", "integration/cli", "integration/cli_release"),
    *("integration/writes", "integration/bad_input", "e2e/demo", "integration/sandbox"),
)
"""What takes longest: all others would wait for what began last."""


def _unit(path: PurePath) -> str:
    """Return of which part of `make test` a module is; each part runs in one process."""
    module = f"{path.parent.name}/{path.stem.removeprefix('test_')}"
    return next((name for name, modules in _TOGETHER.items() if module in modules), module)


class _ByModule(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """Deals out whole modules, so that no fixture of theirs is made twice."""

    def _split_scope(self, nodeid: str) -> str:
        return _unit(PurePath(nodeid.partition("::")[0]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByModule:
    """Schedule the processes of `--numprocesses` this way, whatever `--dist` says."""
    config.option.loadscopereorder = False  # the number of tests tells nothing of how long they take
    return _ByModule(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest.

    Raises:
        pytest.UsageError: If a module would start the stages a second time.
    """
    rank = {unit: number for number, unit in enumerate(_FIRST)}
    items.sort(key=lambda item: rank.get(_unit(item.path), len(rank)))
    for item in items:
        if "stages" in getattr(item, "fixturenames", ()) and _unit(item.path) != "stages":
            raise pytest.UsageError(f"{item.path} uses `stages`: name it in {__file__}")


@pytest.fixture(scope="session")
async def api_cluster() -> AsyncIterator[Cluster]:
    """The API alone with the CRDs of Karpenter 1.14: no controllers, nothing is garbage collected."""
    async with cluster(parts=Parts.API) as running:
        yield running


@pytest.fixture(scope="session")
async def full_cluster() -> AsyncIterator[Cluster]:
    """Everything: controllers, scheduler, kwok and Karpenter 1.14."""
    async with cluster() as running:
        yield running


@pytest.fixture(scope="session")
def promtool() -> str:
    """The program of that name, from Debian's package `prometheus`; skips what needs it where it is missing."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    return found
