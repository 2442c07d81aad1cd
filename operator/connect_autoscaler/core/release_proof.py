"""Proof before an upgrade: the chart at hand renders what is installed, and what the merged values would change."""

import asyncio
import base64
from pathlib import Path

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.spec import OnConflict, Release
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.preflight import preflight
from connect_autoscaler.core.release_model import Prepared
from connect_autoscaler.core.release_reader import Reading
from connect_autoscaler.core.release_tools import Job, Toolbox
from connect_autoscaler.release.charts import Credentials, verify
from connect_autoscaler.release.facts import Facts
from connect_autoscaler.release.helm import HelmError, Target
from connect_autoscaler.release.manifest import Objects, changed, in_effect, objects, restarts, shown_by
from connect_autoscaler.release.merge import differences
from connect_autoscaler.release.values import Json, effective


class Prover:
    """Tries upgrades without effect.

    Args:
        kube: The connection.
        tools: What all releases share.
    """

    def __init__(self, kube: Kube, tools: Toolbox) -> None:
        self._kube, self._tools = kube, tools

    async def prove(self, job: Job, reading: Reading) -> tuple[Path, Prepared]:
        """Prove that the chart renders what is installed, then see what the merged values would change.

        Returns:
            The chart at hand, and what an upgrade with it would do.

        Raises:
            HelmError: It cannot be made, or would not do what it is for.
            KubeError: A trial of it was refused.
        """
        tools, revision, facts = self._tools, reading.revision, reading.facts
        target, access = Target(job.release.namespace, job.release.name), tools.access(job.release)
        await tools.helm.version()
        chart = await tools.charts.fetch(
            job.release.chart, revision.chart_version, await self._credentials(job.release)
        )
        await asyncio.to_thread(verify, chart, revision.templates, revision.chart_version)
        before = objects(revision.manifest, job.release.namespace)
        today = await tools.helm.render(target, access, chart, revision.config)
        if today != revision.manifest:
            tools.charts.forget(chart)
            named = ", ".join(map(str, changed(before, objects(today, job.release.namespace)))) or "only spelling"
            raise HelmError(
                Reason.CHART_MISMATCH,
                f"Chart {facts.chart} at hand does not render the installed release from its own values; it differs in "
                f"{named}. Name in spec.release.chart what it was installed from, or quote large numbers in values",
            )
        after = objects(await tools.helm.render(target, access, chart, reading.merged.values), job.release.namespace)
        if facts.server is None:
            raise HelmError(
                Reason.OVERLAY_INEFFECTIVE, "The chart renders no Deployment with a container named connect"
            )
        expected = in_effect(effective(revision.defaults, reading.merged.values), facts.wanted)
        _see(facts, after, expected)
        differing = changed(before, after)
        touched = {*differing, *(key for key in facts.server if key and job.live)}
        if facts.apply_method == "ssa" and job.release.on_conflict is OnConflict.FAIL:
            await preflight(
                self._kube, {key: after[key] for key in touched if key in after}, facts.server, expected, access.user
            )
        return chart, Prepared(job.key, restarts=restarts(before, after, facts.server))

    async def _credentials(self, release: Release) -> Credentials | None:
        if not (release.chart and release.chart.secret_name):
            return None
        secret = await self._kube.get(f"/api/v1/namespaces/{release.namespace}/secrets/{release.chart.secret_name}")
        data = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
        if not {"username", "password"} <= data.keys():
            raise HelmError(
                Reason.CHART_UNAVAILABLE,
                f"Secret {release.chart.secret_name} needs the keys username and password",
            )
        return Credentials(data["username"], data["password"])


def _see(facts: Facts, after: Objects, expected: Json) -> None:
    """Make sure that every value of the overlay shows in what would be applied."""
    assert facts.server is not None  # noqa: S101 - the caller has seen to it
    if unseen := differences(shown_by(after, facts.server), expected):
        raise HelmError(
            Reason.OVERLAY_INEFFECTIVE,
            f"Chart {facts.chart} does not render {', '.join(c.pointer for c in unseen)}; upgrade the chart",
        )
