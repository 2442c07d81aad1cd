"""A release is claimed once: by whom it was taken over, else by the older profile."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.names import ANNOTATION_PROFILE_UID, LABEL_PROFILE
from connect_autoscaler.core.model import Snapshot, Verb
from connect_autoscaler.core.plan import plan
from unit.builders import NOW, Json, peer
from unit.release_views import AT_ONCE, EVERYTHING, RELEASE, announced, begins, deleted, owned, verdict, view

OTHERS: Json = {
    **RELEASE,
    "placement": {"labelKey": "other"},
    "serverPool": {"name": "s"},
    "contentPool": {"name": "c"},
}
TAKEN = ("False", Reason.RELEASE_CLAIMED_TWICE)


def mark(name: str, uid: str | None = None) -> Json:
    """The Secret in which a profile remembers its release."""
    return {
        "metadata": {"labels": {LABEL_PROFILE: name}, "annotations": {ANNOTATION_PROFILE_UID: uid or f"uid-of-{name}"}}
    }


def rivalled(*marks: Json, older: bool) -> Snapshot:
    rival = peer("rival", spec=OTHERS, created=NOW - timedelta(days=60 if older else 1))
    return announced(owned(view(*EVERYTHING, marks=marks), AT_ONCE, peers=(rival,)))


@pytest.mark.parametrize("older", [False, True])
def test_without_a_mark_the_older_profile_has_it(older: bool) -> None:  # noqa: FBT001 - a parameter of the test
    seen = rivalled(older=older)
    assert (verdict(seen) == TAKEN) is older
    assert begins(seen) is (None if older else Verb.UPGRADE)


@pytest.mark.parametrize("older", [False, True])
def test_who_has_taken_it_over_keeps_it(older: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert begins(rivalled(mark("production"), older=older)) is Verb.UPGRADE
    assert verdict(rivalled(mark("rival"), older=older)) == TAKEN
    assert begins(rivalled(mark("production", "uid-of-an-earlier-life"), older=older)) is Verb.UPGRADE


def test_a_mark_of_nobody_decides_nothing() -> None:
    assert begins(rivalled(mark("gone"), older=False)) is Verb.UPGRADE
    assert verdict(rivalled(mark("gone"), older=True)) == TAKEN


def test_who_lost_it_gives_nothing_back() -> None:
    rival = peer("rival", spec=OTHERS, created=NOW - timedelta(days=60))
    for marks, lets_go in (((mark("rival"),), True), ((mark("production"),), False)):
        seen = deleted(view(*EVERYTHING, taken_over=True, marks=marks), AT_ONCE, peers=(rival,))
        decided = plan(seen, NOW)
        assert bool(decided.actions and decided.actions[-1].verb is Verb.LET_GO) is lets_go


def test_a_profile_that_cares_for_no_release_claims_none() -> None:
    rival = peer("rival", spec={**OTHERS, "driftPolicy": {"release": "Ignore"}}, created=NOW - timedelta(days=60))
    seen = rivalled(mark("rival"), older=True)
    assert begins(announced(replace(seen, peers=(rival,)))) is Verb.UPGRADE
