"""What people read of a release: short, once, and how to go on."""

import pytest

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.plan import plan
from unit.builders import NOW, Json, claim
from unit.planning import SHUT
from unit.release_views import (
    EVERYTHING,
    JOBS,
    RELEASE,
    TARGET,
    TOLERATION,
    message,
    owned,
    told,
    view,
)

MISSING = ("False", Reason.OVERLAY_MISSING)
APPLIED = ("True", Reason.OVERLAY_APPLIED)


# What people read.

LONG = tuple(f"render-of-a-quarterly-report-{n:03}-{'x' * 20}" for n in range(200))


@pytest.mark.parametrize(
    ("disruptions", "why"),
    [
        ({"when": "WhenIdle"}, "Waits until content ends that it would orphan (render-of-a-quarterly-report-000-"),
        ({"when": "OnApproval"}, "Waits for approval."),
        ({"when": "Immediately", "windows": [SHUT]}, "Waits for the next of disruptions.windows, or for approval."),
    ],
)
def test_ready_says_what_waits_and_how_to_go_on_in_a_few_words(disruptions: Json, why: str) -> None:
    seen = owned(view(*EVERYTHING, busy=LONG), {"disruptions": disruptions})
    text = message(seen, "Ready")
    assert text.startswith(f"Upgrade of {TARGET} would restart the servers. {why}")
    how = f"kubectl annotate --overwrite cap production connect-autoscaler.io/approve={told(seen).plan_digest}"
    assert text.endswith(f"To start it now: {how}")
    assert len(text) <= 500
    assert_no_phrase_comes_twice(text)
    assert len(message(seen)) <= 700
    assert_no_phrase_comes_twice(message(seen))


def test_ready_says_how_to_have_a_broken_promise_mended() -> None:
    seen = owned(view(*EVERYTHING, applied=True))
    text = message(seen, "Ready")
    assert TOLERATION.pointer in text
    assert f"connect-autoscaler.io/approve={told(seen).plan_digest}" in text
    assert_no_phrase_comes_twice(text)


def test_only_the_action_that_waits_is_explained() -> None:
    """The first of what waits may be a correction, which does not cost Ready."""
    seen = owned(view(JOBS, applied=True), {"contentPool": {"expireAfter": "100h"}}, written=RELEASE, claims=_one_claim)
    assert [action.target for action, _ in plan(seen, NOW).deferred] == [TARGET, "NodePool/connect-content"]
    assert message(seen, "Ready").startswith("Apply of NodePool/connect-content would replace 1 nodes. Waits until")
    assert "To start all of status.plan now:" in message(seen, "Ready")


def _one_claim(pools: Json) -> list[object]:
    return [claim(pools["connect-content"])]


def assert_no_phrase_comes_twice(text: str) -> None:
    words = text.split()
    phrases = [tuple(words[n : n + 4]) for n in range(len(words) - 3)]
    assert len(phrases) == len(set(phrases)), text
