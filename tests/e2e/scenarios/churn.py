"""Consolidation under churn: what it does to a server without a profile, and never does to one with it."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from e2e.scenarios.crowd import LARGE, Crowd, crowd, greedy_pool
from e2e.scenarios.protected import PATIENCE, REQUESTS, Figures, Protected, lost, only_server, protected
from e2e.stage import Stage
from e2e.tenant import POLL
from harness import NODE_CLAIMS, NODE_POOLS, Json, Release, Timeline
from sandbox import NotYetError, eventually

CALM: Final = 75.0
"""Seconds after a wave in which Karpenter may consolidate: it looks every ten, and looks again fifteen later."""
WAVES: Final = 3
"""At most, until Karpenter has done what it is expected to do, if there is no time to fill."""
_QUICK: Final[Json] = {"disruption": {"consolidateAfter": "0s", "budgets": [{"nodes": "100%"}]}}


async def consolidation(stage: Stage, seconds: float) -> Figures:
    """Two releases under the same churn, one of them with a profile.

    The bare one is evicted; the other's server, its NodeClaim and a render stay, while interactive content moves.
    At the end the content pool has no node.

    Args:
        stage: Where.
        seconds: How long at least; one wave and the calm after it are always played, and as many as it takes for
            Karpenter to evict and move something, since it drops decisions when other pods come or go meanwhile.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        fits = await enter(greedy_pool(stage))
        crowded = await enter(crowd(stage, fits))
        await crowded.fill(LARGE)  # an oversized node, on which the bare server finds room
        bare = await enter(Release(stage.cluster, {**REQUESTS, **fits}))
        guarded = await enter(protected(stage, contentPool=_QUICK))
        await guarded.at_home()
        await bare.rolled_out(seconds=PATIENCE)
        content = await enter(crowd(stage, guarded.content_nodes))
        neighbour = await enter(crowd(stage, fits))
        play = _Play(stage, bare, guarded, crowded, neighbour, content)
        return await play.run(stack, seconds)


@dataclass
class _Play:
    """One campaign."""

    stage: Stage
    bare: Release
    guarded: Protected
    crowded: Crowd
    neighbour: Crowd
    content: Crowd
    moved: int = 0
    waves: int = 0
    renders: int = 0
    troubles: list[str] = field(default_factory=list)

    async def run(self, stack: AsyncExitStack, seconds: float) -> Figures:
        began = time.monotonic()
        cluster = self.stage.cluster
        self.claims = await stack.enter_async_context(Timeline(cluster, NODE_CLAIMS))
        self.bare_pods = await stack.enter_async_context(Timeline(cluster, self.bare.kind("pods")))
        self.pods = await stack.enter_async_context(Timeline(cluster, self.guarded.release.kind("pods")))
        server = self.guarded.server()
        uid = server["metadata"]["uid"]
        self.kept = {uid}
        self.kept_claims = {self.guarded.claim_of(server)["metadata"]["uid"]}
        while time.monotonic() - began < seconds or (not self._proven() and self.waves < WAVES):
            await self._wave(self._troubles() if seconds > CALM else ())
        evicted = len(lost(self.bare_pods))
        assert self._proven(), f"nothing is proven: {evicted} evictions, {self.moved} contents moved"
        churned = time.monotonic() - began
        self.guarded.end_all()
        zero = await self.guarded.scaled_to_zero()
        await self.guarded.says("ContentScalesDown", "Passed")
        after = await self.guarded.at_home()
        assert after["metadata"]["uid"] == uid
        assert self.guarded.claim_of(after)["metadata"]["uid"] in self.kept_claims
        self._kept()
        return {
            "seconds of churn": churned,
            "waves": self.waves,
            "evictions without the profile": evicted,
            "evictions with the profile": int(uid in lost(self.pods)),
            "renders started and survived": self.renders,
            "interactive contents moved": self.moved,
            "seconds to an empty content pool": zero,
            "troubles on the way": len(self.troubles),
            **{f"nodes of all scenarios removed as {reason}": count for reason, count in self._reasons().items()},
        }

    def _proven(self) -> bool:
        """Tell whether what is not protected was taken, so that what was not taken was protected."""
        return bool(lost(self.bare_pods)) and bool(self.moved)

    async def _wave(self, troubles: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Crowds come; content starts among them; crowds leave; Karpenter consolidates what is left."""
        self.waves += 1
        await asyncio.gather(self.content.fill(LARGE, LARGE, apart=True), self._crowd())
        render = await self.guarded.start("report", "build_report")
        self.renders += 1
        self.kept.add(render["metadata"]["uid"])
        app = await self.guarded.start("dashboard", "run_dash_app")  # the spread takes it to the other node
        assert app["spec"]["nodeName"] != render["spec"]["nodeName"]
        evicted = len(lost(self.bare_pods))
        for each in (self.crowded, self.content, *([self.neighbour] if self.waves % 2 else [])):
            each.leave()
        if troubles:
            trouble = troubles[self.waves % len(troubles)]
            self.troubles.append(trouble.__name__)
            await trouble()

        def consolidated() -> bool:
            assert app["metadata"]["uid"] in lost(self.pods), "the interactive content has not moved"
            assert len(lost(self.bare_pods)) > evicted, "the bare server has not been evicted"
            return True

        with contextlib.suppress(NotYetError):  # what counts is how often it came to that
            await eventually(consolidated, timeout=CALM, interval=POLL)
        self._kept()
        if app["metadata"]["uid"] in lost(self.pods):
            again = await self.guarded.start("dashboard", "run_dash_app")  # what Connect does at the next visit
            assert again["spec"]["nodeName"] != app["spec"]["nodeName"]
            self.moved += 1
        self._kept()
        self.kept.discard(render["metadata"]["uid"])  # from now on it may end
        self.guarded.end_all()
        await eventually(lambda: only_server(self.bare), timeout=PATIENCE, interval=POLL)

    async def _crowd(self) -> None:
        """Give Karpenter something to gain by moving the bare server.

        In even waves a neighbour stays behind on a large node: both fit on one that is cheaper than their two. In odd
        waves it leaves, and the server has too large a node for itself; in the first it begins with one.
        """
        if self.waves > 1:
            await self.crowded.fill(LARGE)
            if self.waves % 2 == 0:
                await self.neighbour.fill("2")
            await self.crowded.fill("3", "7", apart=True)

    def _kept(self) -> None:
        """What is protected is neither gone nor going."""
        pods, claims = self.kept & lost(self.pods), self.kept_claims & lost(self.claims)
        assert not pods, f"the server or the render was taken: {self._taken(self.pods, pods)}"
        assert not claims, f"the node under the server was taken: {self._taken(self.claims, claims)}"

    def _taken(self, timeline: Timeline, uids: Collection[str]) -> str:
        """Say what became of what is lost: its last state, and who asked for it to go."""
        last = {event.object["metadata"]["uid"]: event.object for event in timeline.events}
        names = {last[uid]["metadata"]["name"] for uid in uids}
        asked = [
            entry
            for entry in self.stage.cluster.audit.writes(since=0)
            if entry.name in names and (entry.verb.startswith("delete") or entry.subresource == "eviction")
        ]
        return "\n".join(map(str, [*(last[uid] for uid in uids), *asked]))

    def _reasons(self) -> Counter[str]:
        """Why nodes went, in Karpenter's words."""
        found = {
            event.object["metadata"]["uid"]: each["reason"]
            for event in self.claims.events
            for each in event.object.get("status", {}).get("conditions", ())
            if each["type"] == "DisruptionReason" and each["status"] == "True"
        }
        return Counter(found.values())

    def _troubles(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return self._pool_deleted, self._karpenter_killed, self._operator_killed

    async def _karpenter_killed(self) -> None:
        await self.stage.cluster.kill("karpenter")
        await self.stage.cluster.start("karpenter")

    async def _operator_killed(self) -> None:
        await self.stage.operator.kill()
        await self.stage.operator.start()
        await self.guarded.profile.ready(seconds=PATIENCE)

    async def _pool_deleted(self) -> None:
        """In the way that takes its nodes with it; without protection they would be lost, see `test_losses`."""
        tenant = self.guarded.tenant
        old = tenant.pool_uid()
        tenant.api.delete(NODE_POOLS, tenant.profile.server, propagation="Foreground")
        await tenant.pool_is_back(old, seconds=PATIENCE)
        await tenant.condition_is("Ready")
