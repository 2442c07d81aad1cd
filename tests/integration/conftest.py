"""Fixtures of the tests that need the resource, or the operator, on a real API server."""

from collections.abc import AsyncIterator

import pytest

from crd_schema import CRD_FILE
from harness import FakeKarpenterStatus, LocalOperator, Operator, Profile, Workspace
from integration.cli_calls import Cli
from integration.profiles import Profiles
from sandbox import Cluster, Parts, cluster


@pytest.fixture(scope="session")
def profile_crd(api_cluster: Cluster) -> Cluster:
    """The API server with the resource of this project, Established and answering."""
    api_cluster.apply(CRD_FILE)
    return api_cluster


@pytest.fixture(scope="session")
def profiles(profile_crd: Cluster) -> Profiles:
    """Profiles on that server."""
    return Profiles(profile_crd.api)


@pytest.fixture(scope="session")
async def operator(full_cluster: Cluster) -> AsyncIterator[Operator]:
    """The operator as a process, beside a real Karpenter."""
    async with Operator(full_cluster) as running:
        yield running


@pytest.fixture
async def workspace(operator: Operator) -> AsyncIterator[Workspace]:
    """What a test creates on the cluster of `operator`."""
    async with Workspace(operator.cluster) as opened:
        yield opened


@pytest.fixture(scope="session")
async def fake_karpenter() -> AsyncIterator[FakeKarpenterStatus]:
    """An API server where every NodePool is Ready; not `api_cluster`, whose profiles are not for an operator."""
    async with cluster(parts=Parts.API) as running, FakeKarpenterStatus(running) as stamping:
        yield stamping


@pytest.fixture(scope="session")
async def local_operator(fake_karpenter: FakeKarpenterStatus) -> AsyncIterator[LocalOperator]:
    """The operator in a thread, on the API server of `fake_karpenter`."""
    async with LocalOperator(fake_karpenter.cluster) as running:
        yield running


@pytest.fixture
async def local_workspace(local_operator: LocalOperator) -> AsyncIterator[Workspace]:
    """What a test creates on the cluster of `local_operator`."""
    async with Workspace(local_operator.cluster) as opened:
        yield opened


@pytest.fixture
def cli(local_operator: LocalOperator) -> Cli:
    """The command line, on the cluster of `local_operator`."""
    return Cli(local_operator.cluster)


@pytest.fixture
async def ready(local_workspace: Workspace) -> Profile:
    """A profile that is Ready."""
    profile = local_workspace.profile(contentPool={"weight": 5})
    await profile.ready()
    return profile
