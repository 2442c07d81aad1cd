"""Expiry: the vendor's page says that do-not-disrupt stops it. It does not."""

import time

from e2e.scenarios.crowd import greedy_pool
from e2e.scenarios.protected import DO_NOT_DISRUPT, PATIENCE, REQUESTS, Figures, only_server, protected
from e2e.stage import Stage
from e2e.tenant import POLL
from harness import NODE_CLAIMS, Release
from sandbox import eventually


async def expiry_without_the_profile(stage: Stage) -> Figures:
    """An annotated server on a node that expires: the node is asked to go all the same."""
    async with greedy_pool(stage, expireAfter="20s") as fits:
        values = {**REQUESTS, **fits, "pod": {"annotations": {DO_NOT_DISRUPT: "true"}}}
        async with Release(stage.cluster, values) as release:
            await release.rolled_out(seconds=PATIENCE)
            began, server = time.monotonic(), only_server(release)
            assert server["metadata"]["annotations"][DO_NOT_DISRUPT] == "true"

            def expired() -> bool:
                (claim,) = (
                    each
                    for each in stage.api.list(NODE_CLAIMS)
                    if each.get("status", {}).get("nodeName") == server["spec"]["nodeName"]
                )
                return "deletionTimestamp" in claim["metadata"]

            await eventually(expired, timeout=PATIENCE, interval=POLL)
            return {"seconds from rollout to the deletion of an expired node": time.monotonic() - began}


async def expiry_of_a_server_pool(stage: Stage) -> Figures:
    """A profile that lets its server nodes expire is told so before it happens; the default never gets there."""
    async with protected(stage) as safe, protected(stage, serverPool={"expireAfter": "70s"}) as doomed:
        before = await doomed.says("ServerNodesPersist", "Failed", "expires at", "whatever runs on it")
        await doomed.profile.condition_is("PlacementVerified", "False", "NodesAtRisk")
        server = await eventually(doomed.server, timeout=PATIENCE, interval=POLL)
        claim = doomed.claim_of(server)["metadata"]["name"]
        await doomed.says("ServerNodesPersist", "Failed", f"NodeClaim {claim} is being deleted")
        assert before["result"] == "Failed"
        assert doomed.server()["metadata"]["uid"] == server["metadata"]["uid"], "the annotation does hold the pod"
        kept = await safe.at_home()
        assert safe.claim_of(kept)["spec"]["expireAfter"] == "Never"
        assert "nextExpiry" not in safe.tenant.pool_status()
    return {}
