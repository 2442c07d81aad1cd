"""The vendor page's promises from beginning to end, on the whole control plane, each beside what happens without them.

A scenario waits most of its time for Karpenter, so several are played at once on one cluster for each version.
`make test` plays a few of them, with one wave of churn; `make e2e` all, for as many minutes as $E2E_CHURN says.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import pytest

from demo.connect import open_pool
from e2e.scenarios.churn import consolidation
from e2e.scenarios.content import idle_nodes_that_stay, spread
from e2e.scenarios.expiry import expiry_of_a_server_pool, expiry_without_the_profile
from e2e.scenarios.layers import a_server_pool_of_somebody_else
from e2e.scenarios.losses import a_machine_that_vanishes, a_node_claim_that_is_deleted, a_node_that_is_not_ready
from e2e.scenarios.protected import Figures
from e2e.stage import Stage
from harness import Api, Kind, Operator
from harness.releases import release_options
from sandbox import cluster, eventually

CHURN: Final = {
    version: 60 * float(minutes)
    for version, minutes in (each.split("=") for each in os.environ.get("E2E_CHURN", "1.14=0").split())
}
"""Seconds of churn, by version of Karpenter."""


async def churned(stage: Stage) -> Figures:
    """Play churn for as long as this version has."""
    return await consolidation(stage, CHURN[stage.karpenter])


Scenario = Callable[[Stage], Awaitable[Figures]]
SHORT: Final[Mapping[str, Scenario]] = {
    "consolidation": churned,
    "expiry without the profile": expiry_without_the_profile,
    "a node that is not ready": a_node_that_is_not_ready,
}
LONG: Final[Mapping[str, Scenario]] = {
    "expiry of a server pool": expiry_of_a_server_pool,
    "a server pool of somebody else": a_server_pool_of_somebody_else,
    "a NodeClaim that is deleted": a_node_claim_that_is_deleted,
    "a machine that vanishes": a_machine_that_vanishes,
    "spread": spread,
    "idle nodes that stay": idle_nodes_that_stay,
}
SCENARIOS: Final = {**SHORT, **(LONG if "E2E_CHURN" in os.environ else {})}
_AT_ONCE: Final = 4
"""Scenarios; churn is one of them, all the time."""
_ACCOUNTS: Final = Kind("v1", "serviceaccounts", "default")
# Karpenter collects pending pods for a second before it acts; a test's are all there at once.
_IMPATIENT: Final = {"BATCH_IDLE_DURATION": "200ms", "BATCH_MAX_DURATION": "1s"}


@pytest.fixture(scope="module", params=CHURN)
async def plays(request: pytest.FixtureRequest) -> AsyncIterator[Mapping[str, asyncio.Task[Figures]]]:
    """What came, or will come, of the chosen scenarios, on a cluster as many are: one NodePool takes everything."""
    chosen = {item.callspec.params.get("scenario") for item in request.session.items if hasattr(item, "callspec")}
    async with cluster(karpenter=request.param, karpenter_env=_IMPATIENT) as running:
        node_class = {"apiVersion": "karpenter.kwok.sh/v1alpha1", "kind": "KWOKNodeClass"}
        await eventually(lambda: Api(running.api).get(_ACCOUNTS, "default"))  # without it, no pods
        running.apply({**node_class, "metadata": {"name": "default"}}, open_pool())
        async with Operator(running, *release_options(running)) as operator:
            stage = Stage(request.param, running, operator)
            turns = asyncio.Semaphore(_AT_ONCE)
            tasks = {
                name: asyncio.create_task(_play(scenario, stage, turns))
                for name, scenario in SCENARIOS.items()
                if name in chosen
            }
            try:
                yield tasks
            finally:
                for task in tasks.values():
                    task.cancel()
                await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_scenario(
    scenario: str,
    plays: Mapping[str, asyncio.Task[Figures]],
    request: pytest.FixtureRequest,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    figures = await asyncio.shield(plays[scenario])
    for name, value in figures.items():
        record_testsuite_property(f"{request.node.name}: {name}", round(value, 1))
        print(f"{request.node.name}: {name}: {value:.1f}")


async def _play(scenario: Scenario, stage: Stage, turns: asyncio.Semaphore) -> Figures:
    async with turns:
        began = time.monotonic()
        figures = await scenario(stage)
        return {**figures, "seconds in all": time.monotonic() - began}
