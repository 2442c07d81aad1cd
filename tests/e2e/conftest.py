"""Whole clusters: real Karpenter 1.14 and 1.15, each with the operator as a process of the shipped ServiceAccount.

They are the e2e tests' own: these stop the operator, and delete every NodePool there is.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from e2e.helm_door import HelmDoor
from e2e.old_karpenter import karpenter_1_13
from e2e.release_stage import AT_ONCE, Case, case
from e2e.stage import Stage, Stages
from harness import FakeKarpenterStatus, Kind, LocalOperator, Operator
from harness.releases import release_options
from sandbox import Cluster, Parts, cluster, eventually

SERVICE_ACCOUNTS = Kind("v1", "serviceaccounts", "default")
# Karpenter collects pending pods for a second before it acts; a test's are all there at once.
_IMPATIENT = {"BATCH_IDLE_DURATION": "200ms", "BATCH_MAX_DURATION": "1s"}


@pytest.fixture(scope="session")
async def full_cluster() -> AsyncIterator[Cluster]:
    """Everything, with Karpenter 1.14."""
    async with cluster(karpenter="1.14", karpenter_env=_IMPATIENT) as running:
        yield running


@pytest.fixture(scope="session")
async def release_cluster() -> AsyncIterator[Cluster]:
    """The same for modules that run an operator of their own: two on one cluster would get into each other's way."""
    async with cluster(karpenter="1.14", karpenter_env=_IMPATIENT) as running:
        yield running


@pytest.fixture(scope="module")
def door(release_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> HelmDoor:
    """The real helm behind a door: calls are counted, and can be held up."""
    return HelmDoor(release_cluster, tmp_path_factory.mktemp("door"))


@pytest.fixture(scope="module")
async def operator(release_cluster: Cluster, door: HelmDoor) -> AsyncIterator[Operator]:
    """An operator for releases; modules that need other options have one of their own."""
    async with Operator(release_cluster, *release_options(release_cluster, door.path), "--verbose") as running:
        yield running


@pytest.fixture(scope="module")
async def taken(operator: Operator) -> AsyncIterator[Case]:
    """A release that carries the overlay, for one change after the other."""
    async with case(operator, **AT_ONCE) as it:
        await it.settled()
        yield it


@pytest.fixture(scope="session")
async def newer_cluster() -> AsyncIterator[Cluster]:
    """Everything, with Karpenter 1.15."""
    async with cluster(karpenter="1.15", karpenter_env=_IMPATIENT) as running:
        yield running


@pytest.fixture(scope="session")
async def stages(full_cluster: Cluster, newer_cluster: Cluster) -> AsyncIterator[Stages]:
    """The operator on both."""
    async with AsyncExitStack() as stack:
        opened = {}
        for version, running in (("1.14", full_cluster), ("1.15", newer_cluster)):
            opened[version] = Stage(version, running, await stack.enter_async_context(Operator(running)))
            await eventually(partial(opened[version].api.get, SERVICE_ACCOUNTS, "default"))  # without it, no pods
        yield opened


@pytest.fixture(scope="session")
async def oldest(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalOperator]:
    """The operator on an API server with the CRDs of Karpenter 1.13, whose part in a NodePool's status is played."""
    crds = karpenter_1_13(tmp_path_factory.mktemp("karpenter-1.13"))
    async with (
        cluster(parts=Parts.API, crds=crds) as running,
        FakeKarpenterStatus(running),
        LocalOperator(running) as operator,
    ):
        yield operator
