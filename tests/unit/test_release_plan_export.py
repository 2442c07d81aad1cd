"""Releases that others write: the overlay is published for them, and looked for."""

from dataclasses import replace

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.status import DriftAction
from connect_autoscaler.core.model import Verb
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.release_model import ReleaseView
from unit.builders import NOW, Json
from unit.planning import OPEN
from unit.release_views import (
    AT_ONCE,
    EVERYTHING,
    EXPORT,
    GATELESS,
    JOBS,
    RENDERED,
    SELECTS,
    announced,
    attempted,
    begins,
    entries,
    exported,
    facts,
    live,
    message,
    owned,
    prepared,
    told,
    verdict,
    waits,
)
from unit.reporting import said

MISSING = ("False", Reason.OVERLAY_MISSING)
APPLIED = ("True", Reason.OVERLAY_APPLIED)


# Releases that others write.


def published(release: ReleaseView, spec: Json | None = None) -> list[tuple[str, str]]:
    return [(action.verb, action.target) for action in plan(owned(release, spec), NOW).actions]


def test_the_overlay_is_published_for_those_who_write_the_release() -> None:
    release = exported(*EVERYTHING, exported=False)
    assert published(release) == [(Verb.PUBLISH, "ConfigMap/flux-system/production-values")]
    (action,) = plan(owned(release), NOW).actions
    assert action.body == EXPORT
    assert published(replace(release, exported=True)) == []
    assert published(release, {"suspend": True}) == []
    assert published(release, {"mode": "Plan"}) == []
    assert [(planned.action, planned.reason) for planned in told(owned(release, {"mode": "Plan"})).plan] == [
        ("Publish", "PlanMode")
    ]


@pytest.mark.parametrize("changes", [EVERYTHING, (RENDERED,)])
def test_until_its_writer_takes_it_up_status_says_how(changes: tuple[object, ...]) -> None:
    seen = owned(exported(*changes), AT_ONCE)  # type: ignore[arg-type]
    assert said(told(seen))["ReleaseConfigured"] == said(told(seen))["Ready"] == ("False", Reason.OVERLAY_EXPORTED)
    assert "Stalled" not in said(told(seen)), "his tool may be at it already"
    assert "spec.valuesFrom" in message(seen)
    assert begins(announced(seen)) is None
    assert waits(seen) == []


def test_a_release_of_others_is_never_upgraded_whatever_happens_to_it() -> None:
    for release in (
        exported(*EVERYTHING, prepared=prepared()),
        exported(live=(live(SELECTS),), applied=True),
        exported(facts=facts(ineffective=(RENDERED,))),
        exported(attempted=attempted(finished=False), entries=entries(4, "pending-upgrade")),
    ):
        for spec in (GATELESS, AT_ONCE):
            assert begins(announced(owned(release, spec))) is None


def test_a_published_overlay_that_took_effect() -> None:
    seen = owned(exported())
    assert said(told(seen))["Ready"] == ("True", Reason.IN_SYNC)
    assert said(told(seen))["ReleaseConfigured"] == APPLIED
    manifests = owned(exported(facts=facts(revision=0)))
    assert "The servers carry the overlay" in message(manifests)
    assert verdict(owned(exported(rolled_out=False))) == ("Unknown", Reason.WAITING_FOR_ROLLOUT)


def test_drift_of_a_published_overlay_is_known_from_status() -> None:
    good = announced(owned(exported()))
    bent = replace(good, release=exported(JOBS))
    drift = told(bent).drift
    assert drift is not None
    assert [(item.path, item.action, item.reason) for item in drift.items] == [
        (JOBS.pointer, DriftAction.REPORTED, "OverlayExported")
    ]
    new = told(owned(exported(JOBS))).drift
    assert new is not None
    assert new.items == (), "what never was there cannot drift"


def test_values_of_the_owner_that_win_are_named() -> None:
    seen = owned(exported(SELECTS, shadowed=("/nodeSelector/workload",)))
    assert said(told(seen))["ReleaseConfigured"] == ("False", Reason.OVERLAY_SHADOWED)
    assert "/nodeSelector/workload" in message(seen)
    assert "Stalled" not in said(told(seen))


def test_nothing_is_published_for_a_refused_profile() -> None:
    seen = owned(exported(exported=False), {"disruptions": {"windows": [{**OPEN, "timeZone": "Mars/Olympus"}]}})
    assert Verb.PUBLISH not in [action.verb for action in plan(seen, NOW).actions]
