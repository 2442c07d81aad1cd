"""Content that people render and use meanwhile: Connect's part in that is played, Kubernetes' is real."""

import asyncio
from dataclasses import dataclass
from typing import Final

from demo.connect import NAMESPACE, PODS
from harness import Api, Json, Release
from harness.connect_content import Launcher
from harness.connect_state import ConnectState, kube_name
from sandbox import Cluster, eventually


@dataclass(frozen=True)
class Running:
    """A pod of content as it was when it had begun."""

    title: str
    pod: Json

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])


class Content:
    """Starts and ends content of the demo's release.

    Args:
        it: Where.
    """

    REPORT: Final = ("sales-report", "quarto-static", "build_report")
    DASHBOARD: Final = ("dashboard", "shiny", "run_app")

    def __init__(self, it: Cluster) -> None:
        release = Release(it)
        release.namespace = NAMESPACE
        self._api = Api(it.api)
        self._connect = ConnectState(launcher=Launcher(release))

    async def start(self, *what: tuple[str, str, str]) -> list[Running]:
        """Start content, all of it at once, and wait until it runs.

        Args:
            what: REPORT or DASHBOARD.
        """
        jobs = []
        for name, mode, tag in what:
            item = self._connect.add_content(name, mode)
            jobs.append((item["title"], kube_name(self._connect.launch(item, tag)["remote_id"])))
        return await asyncio.gather(*(self._running(title, job) for title, job in jobs))

    async def finish(self, running: Running) -> None:
        """Have a render come to its end: its program exits with 0."""
        self._api.merge(PODS, running.name, {"status": {"phase": "Succeeded"}}, subresource="status", manager="kubelet")
        await eventually(lambda: self.now(running)["status"]["phase"] == "Succeeded")

    def now(self, running: Running) -> Json:
        """Return the pod as it is.

        Raises:
            AssertionError: It is another one.
        """
        pod = self._api.get(PODS, running.name)
        assert pod["metadata"]["uid"] == running.pod["metadata"]["uid"], f"{running.name} is another pod"
        return pod

    def undisturbed(self, running: Running) -> bool:
        """Tell whether it is still that pod, running and not about to go."""
        pod = self.now(running)
        return pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]

    async def _running(self, title: str, job: str) -> Running:
        def pod() -> Json:
            (found,) = self._api.list(PODS, labelSelector=f"batch.kubernetes.io/job-name={job}")
            assert found["status"]["phase"] == "Running", found["status"]
            return found

        return Running(title, await eventually(pod, timeout=60))
