"""A node under the server goes in spite of everything: checks tell it while it is so, and recover when it is over."""

import time
from typing import Any, Final

from e2e.scenarios.protected import PATIENCE, Figures, protected
from e2e.stage import Stage
from e2e.tenant import POLL
from harness import NODE_CLAIMS, NODES, PROFILES, Json, Timeline
from sandbox import eventually

_SERVER_PLACED: Final = "ServerOnServerPool"


async def a_node_that_is_not_ready(stage: Stage) -> Figures:
    """The server is started anew on another node of its pool; the dead one is counted as empty."""
    # Five minutes by default: how long pods stay on a node that does not answer.
    impatient = [_leaves("not-ready"), _leaves("unreachable")]
    async with protected(stage, {"tolerations": impatient}) as it, Timeline(stage.cluster, PROFILES) as profiles:
        before = await it.at_home()
        began, since, node = time.monotonic(), profiles.mark(), before["spec"]["nodeName"]
        label = {"node-not-ready.stage.kwok.x-k8s.io": "true"}
        it.api.merge(NODES, node, {"metadata": {"labels": label}})
        told = await profiles.until(
            lambda event: event.name == it.profile.name and _result(event.object) == "Unknown",
            since=since,
            seconds=PATIENCE,
        )
        (verified,) = (each for each in told.object["status"]["conditions"] if each["type"] == "PlacementVerified")
        assert verified["status"] != "True"
        after = await it.at_home(instead_of=before["metadata"]["uid"])
        back = time.monotonic() - began
        assert after["spec"]["nodeName"] != node
        await eventually(lambda: it.tenant.pool_status()["emptyNodes"] == 1, timeout=PATIENCE, interval=POLL)
        return {"seconds from a dead node to a server that runs again": back}


async def a_node_claim_that_is_deleted(stage: Stage) -> Figures:
    """The server holds the node while it drains; started anew, by whoever was told, it is safe again."""
    async with protected(stage) as it:
        server = await it.at_home()
        claim = it.claim_of(server)["metadata"]["name"]
        it.api.delete(NODE_CLAIMS, claim)
        await it.says("ServerNodesPersist", "Failed", f"NodeClaim {claim} is being deleted", "To do: ")
        await it.profile.condition_is("Ready", "False", seconds=PATIENCE)
        assert it.server()["metadata"]["uid"] == server["metadata"]["uid"]
        it.api.delete(it.release.kind("pods"), server["metadata"]["name"])
        await it.at_home(instead_of=server["metadata"]["uid"])
        await eventually(lambda: it.api.find(NODE_CLAIMS, claim) is None, timeout=PATIENCE, interval=POLL)
    return {}


async def a_machine_that_vanishes(stage: Stage) -> Figures:
    """The node is gone without a word, as a cloud takes it; Kubernetes finds out about its pods after a minute."""
    async with protected(stage) as it:
        server = await it.at_home()
        began, node = time.monotonic(), server["spec"]["nodeName"]
        it.api.merge(NODES, node, {"metadata": {"finalizers": None}})
        it.api.delete(NODES, node)
        await it.says(_SERVER_PLACED, "Failed", f"runs on {node}, a node of none of the profile's pools")
        await it.profile.condition_is("PlacementVerified", "False", "PodsMisplaced")
        await it.at_home(instead_of=server["metadata"]["uid"])
        return {"seconds from a vanished machine to a server that runs again": time.monotonic() - began}


def _leaves(condition: str) -> dict[str, Any]:
    return {
        "key": f"node.kubernetes.io/{condition}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 3,
    }


def _result(profile: Json) -> str | None:
    checks = profile.get("status", {}).get("checks", ())
    return next((each["result"] for each in checks if each["name"] == _SERVER_PLACED), None)
