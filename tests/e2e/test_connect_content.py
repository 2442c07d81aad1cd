"""Content on a whole cluster, as a server of Connect starts it: where it runs, and what becomes of it alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from connect_autoscaler.api.policies import OrphanPolicy, Recovery
from connect_autoscaler.jobs.client import Connect, Found
from connect_autoscaler.jobs.model import Job, KubeJob
from connect_autoscaler.jobs.orphans import Orphan, orphans
from connect_autoscaler.jobs.pace import Pace
from connect_autoscaler.jobs.quiescence import Hold, Holds, candidates, quiescence
from connect_autoscaler.jobs.recovery import Action, Known, decide
from harness import NODES, Json, Operator, Profile, Release, Workspace
from harness.connect_content import LABELS, Launcher
from harness.connect_server import ADMINISTRATOR, ConnectServer
from harness.connect_state import kube_name
from sandbox import eventually

LATER = timedelta(minutes=10)
"""How much older heartbeats are made than they are."""
RERUN = Recovery(orphaned_jobs=OrphanPolicy.RERUN)


@dataclass(frozen=True)
class Stage:
    """A protected release, whose content a stand-in starts."""

    profile: Profile
    release: Release
    launcher: Launcher
    server: ConnectServer
    connect: Connect

    async def content(self, job: Json) -> Json:
        """Wait until the pod of a job runs; return it."""

        def running() -> Json:
            pods = self.release.api.list(
                self.release.kind("pods"), labelSelector=f"batch.kubernetes.io/job-name={kube_name(job['remote_id'])}"
            )
            (pod,) = pods
            assert pod["status"]["phase"] == "Running", pod["status"]
            return pod

        return await eventually(running, timeout=60)

    def pool_of(self, pod: Json) -> str:
        node = self.release.api.get(NODES, pod["spec"]["nodeName"])
        return str(node["metadata"]["labels"]["karpenter.sh/nodepool"])

    def kube_jobs(self) -> list[KubeJob]:
        label = ",".join(f"{key}={value}" for key, value in LABELS.items())
        return [KubeJob.of(each) for each in self.release.api.list(self.release.kind("jobs"), labelSelector=label)]

    async def swept(self) -> list[Found]:
        return [each async for each in self.connect.sweep()]

    async def orphans(self, jobs: list[Job]) -> tuple[Orphan, ...]:
        return orphans(jobs, await self.connect.hosts(), self.kube_jobs(), datetime.now(UTC) + LATER)

    def servers(self) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.release.servers()}


@asynccontextmanager
async def staged(operator: Operator) -> AsyncIterator[Stage]:
    async with Workspace(operator.cluster) as workspace, Release(operator.cluster) as release:
        profile = workspace.profile(release=release.reference)
        await profile.ready(seconds=90)
        await release.rolled_out()
        launcher = Launcher(release)
        async with (
            ConnectServer(launcher=launcher) as server,
            Connect(server.url, ADMINISTRATOR, pace=Pace(0.01)) as connect,
        ):
            stage = Stage(profile, release, launcher, server, connect)
            server.hosts_are(stage.servers())
            try:
                yield stage
            finally:
                for job in stage.kube_jobs():
                    release.api.delete(release.kind("jobs"), job.name)


async def test_content_runs_where_the_job_base_says_and_ends(operator: Operator) -> None:
    async with staged(operator) as stage:
        server, launcher = stage.server, stage.launcher
        report, dashboard = server.add_content("sales-report"), server.add_content("dashboard", "shiny")
        serving = server.launch(dashboard, "run_app")
        launcher.duration = "5s"
        rendering = server.launch(report, "build_report")
        rendered, interactive = await asyncio.gather(stage.content(rendering), stage.content(serving))
        for pod in (rendered, interactive):
            assert stage.pool_of(pod) == stage.profile.content
            assert pod["metadata"]["labels"].items() >= LABELS.items()
        assert rendered["metadata"]["name"].startswith("render-sales-report-")
        assert rendered["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
        assert "karpenter.sh/do-not-disrupt" not in interactive["metadata"]["annotations"]

        running = [job.name for job in stage.kube_jobs() if not job.finished]
        asked = candidates(running, await stage.connect.content())
        jobs = [job for guid in asked for job in await stage.connect.jobs(guid)]
        found = quiescence(running, await stage.connect.queue(), jobs)
        assert found.holding == (Hold(kube_name(rendering["remote_id"]), Holds.RENDER),)
        assert found.interactive == (kube_name(serving["remote_id"]),)

        async def ended() -> bool:
            (job,) = await stage.connect.jobs(report["guid"])
            return not job.active

        await eventually(ended, timeout=30)
        running = [job.name for job in stage.kube_jobs() if not job.finished]
        assert quiescence(running, (), jobs).quiet


async def test_a_render_whose_server_is_gone_is_found_and_rendered_again(operator: Operator) -> None:
    async with staged(operator) as stage:
        server, api = stage.server, stage.release.api
        report = server.add_content("sales-report")
        lost, kept = server.launch(report, "build_report"), server.launch(server.add_content("other"), "build_report")
        pod = await stage.content(lost)
        await stage.content(kept)
        (before,) = stage.servers()
        api.delete(stage.release.kind("pods"), before)
        await eventually(lambda: stage.servers() and before not in stage.servers(), timeout=60)
        server.hosts_are(stage.servers())
        jobs = [job for found in await stage.swept() for job in found.jobs]
        assert {job.hostname for job in jobs} == {before}
        assert await stage.orphans(jobs) == (), "both still run in Kubernetes"

        api.delete(stage.release.kind("jobs"), kube_name(lost["remote_id"]))
        await eventually(lambda: api.find(stage.release.kind("pods"), pod["metadata"]["name"]) is None)
        swept = await stage.swept()
        jobs = [job for found in swept for job in found.jobs]
        found = await stage.orphans(jobs)
        assert [each.job.key for each in found] == [lost["key"]]
        contents = {each.content.guid: each.content for each in swept}
        variants = {report["guid"]: await stage.connect.variants(report["guid"])}
        known = Known(jobs, await stage.connect.queue(), contents, variants)
        (decision,) = decide(found, known, RERUN, datetime.now(UTC))
        assert decision.action is Action.RERUN
        await stage.connect.rerun(decision.job)
        again = server.jobs[report["guid"]][-1]
        assert stage.pool_of(await stage.content(again)) == stage.profile.content
        assert again["hostname"] in stage.servers()

        jobs = [job for found in await stage.swept() for job in found.jobs]
        (decision,) = decide(await stage.orphans(jobs), replace(known, jobs=jobs), RERUN, datetime.now(UTC))
        assert (decision.job.key, decision.action) == (lost["key"], Action.SKIPPED)
