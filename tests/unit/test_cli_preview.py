"""What a preview takes from status: the cost of an upgrade is never understated. And what its errors become."""

from dataclasses import replace

import click
import pytest
from click.testing import CliRunner
from kubernetes.aio.config import ConfigException

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.cli.preview import PlanningVerb, informed
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.model import Snapshot
from unit.release_views import EVERYTHING, announced, owned, prepared, view

ON_APPROVAL = {"disruptions": {"when": "OnApproval"}}


def _restarts(seen: Snapshot) -> bool:
    assert seen.release
    known = informed(replace(seen, release=replace(seen.release, prepared=None))).release
    assert known
    assert known.prepared
    return known.prepared.restarts


@pytest.mark.parametrize("restarts", [True, False])
def test_what_the_operator_has_proven_counts(*, restarts: bool) -> None:
    seen = announced(owned(view(*EVERYTHING, prepared=prepared(restarts=restarts)), ON_APPROVAL))
    assert _restarts(seen) is restarts


@pytest.mark.parametrize("spec", [{"mode": "Plan"}, ON_APPROVAL, {"suspend": True}])
def test_what_nobody_has_proven_restarts_servers(spec: dict[str, object]) -> None:
    assert _restarts(announced(owned(view(*EVERYTHING), spec)))


def test_a_proof_of_another_generation_does_not_count() -> None:
    seen = announced(owned(view(*EVERYTHING, prepared=prepared(restarts=False)), ON_APPROVAL))
    assert _restarts(replace(seen, profile=replace(seen.profile, generation=seen.profile.generation + 1)))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            KubeError(0, Reason.API_UNAVAILABLE, "refused", Retry.SOON),
            "The API server does not answer (refused); is it up, and is --context right?",
        ),
        (
            KubeError(403, Reason.FORBIDDEN, "nodes is forbidden: User you cannot list", Retry.LATER),
            "You may not do this; ask an administrator for the right: nodes is forbidden: User you cannot list",
        ),
        (
            ConfigException("no\ncluster"),
            "The kubeconfig cannot be used; name another with --kubeconfig (no cluster)",
        ),
    ],
)
def test_errors_of_the_operators_connection_are_sentences(error: Exception, words: str) -> None:
    @click.command(cls=PlanningVerb)
    def verb() -> None:
        raise error

    done = CliRunner().invoke(verb)
    assert (done.exit_code, done.stderr) == (2, f"Error: {words}\n")
