"""What a preview takes from status: the cost of an upgrade is never understated."""

from dataclasses import replace

import pytest

from connect_autoscaler.cli.preview import informed
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
