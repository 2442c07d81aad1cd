"""Karpenter's part of a NodePool on clusters where no Karpenter runs."""

import contextlib
from datetime import UTC, datetime
from typing import Final

from pykube.exceptions import HTTPError

from harness.api import NODE_POOLS, Api, Json
from harness.background import Background, Signals, until_stopped
from harness.watches import Event, follow
from sandbox import Cluster

_CONDITIONS: Final = ("ValidationSucceeded", "NodeClassReady", "Ready")


def stamp_ready(api: Api, name: str, *, false: str | None = None, reason: str = "Testing") -> Json:
    """Give a NodePool the conditions that Karpenter gives it, for its present generation.

    Args:
        api: An administrator's.
        name: The NodePool.
        false: A condition that is to be False instead; Ready then is, too.
        reason: The reason of that condition.
    """
    generation = api.get(NODE_POOLS, name)["metadata"]["generation"]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def condition(kind: str) -> Json:
        bad = false is not None and kind in {false, "Ready"}
        return {
            "type": kind,
            "status": "False" if bad else "True",
            "reason": (reason if kind == false else "UnhealthyDependents") if bad else kind,
            "message": f"{kind} is False for a test" if bad else "",
            "observedGeneration": generation,
            "lastTransitionTime": now,
        }

    status = {"conditions": [condition(kind) for kind in _CONDITIONS]}
    return api.merge(NODE_POOLS, name, {"status": status}, manager="karpenter", subresource="status")


class FakeKarpenterStatus(Background):
    """Stamps every NodePool of an API-only cluster Ready, each generation anew, while its context lasts.

    It is not Karpenter: no nodes, no hash, no validation. Names in `skip` are left to the test.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.skip: set[str] = set()
        self.cluster = cluster
        super().__init__("fake karpenter status", self._work)

    async def _work(self, signals: Signals) -> None:
        await until_stopped(signals, follow(self.cluster, NODE_POOLS, self._stamp, signals.ready))

    def _stamp(self, api: Api, event: Event) -> None:
        if event.type != "DELETED" and event.name not in self.skip and not _judged(event.object):
            with contextlib.suppress(HTTPError):  # deleted meanwhile
                stamp_ready(api, event.name)


def _judged(pool: Json) -> bool:
    conditions = pool.get("status", {}).get("conditions", ())
    return any(
        c["type"] == "Ready" and c.get("observedGeneration") == pool["metadata"]["generation"] for c in conditions
    )
