"""Fixtures that every test may use: real control planes, started once and shared by the whole run.

A program that is not built fails the tests that need it, with the command that builds it; nothing is skipped.
Tests share a cluster, so they name their objects apart and clean up what is not namespaced.
"""

from collections.abc import AsyncIterator

import pytest

from sandbox import Cluster, Parts, cluster


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
