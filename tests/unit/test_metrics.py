"""What is counted, and what is read off the profiles."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import Metric

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.core.errors import KubeError, Retry
from connect_autoscaler.core.metrics import Metrics, written
from connect_autoscaler.core.model import Outcome
from connect_autoscaler.core.plan import plan
from connect_autoscaler.core.profile_metrics import FIGURES, PREFIX
from unit.builders import NOW, profile
from unit.metrics_builders import RELEASE, STATUS, busy, busy_profile, exported, families, sample, scraped
from unit.planning import patch
from unit.reporting import steady

SECRETS = "/api/v1/namespaces/posit/secrets"


def series(metric: Metric) -> set[Any]:
    return {(each.name, frozenset(each.labels.items()), each.value) for each in metric.samples}


async def test_what_is_scraped_is_what_is_counted() -> None:
    counts = busy()
    read = await scraped(counts)
    assert read.keys() == {metric.name for metric in counts.registry.collect()}
    for metric in families(counts).values():
        shown = read[metric.name]
        assert (shown.type, shown.documentation) == (metric.type, metric.documentation)
        if not metric.name.startswith("process_"):  # these move by themselves
            assert series(shown) == series(metric)


def test_every_figure_has_a_sample_and_no_label_a_path_or_a_pod() -> None:
    counts = busy()
    for metric in counts.registry.collect():
        assert metric.samples, metric.name
        assert metric.documentation.endswith("."), metric.name
        assert metric.name.startswith((PREFIX, "process_"))
        for each in metric.samples:
            assert not each.name.endswith("_created")
            for value in each.labels.values():
                assert "/spec" not in value
                assert "pod-of-others" not in value
                assert "posit" not in value
                assert "\n" not in value


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("condition", {"type": "Ready", "status": "False"}, 1),
        ("condition", {"type": "Ready", "status": "True"}, 0),
        ("condition_reason", {"type": "Ready", "reason": "GuaranteeBroken"}, 1),
        ("drift_items", {"target_kind": "NodePool", "action": "Corrected"}, 1),
        ("drift_items", {"target_kind": "Release", "action": "Reported"}, 1),
        (
            "drift_first_seen_timestamp_seconds",
            {"target_kind": "NodePool", "action": "Deferred"},
            NOW.timestamp() - 20 * 60,
        ),
        ("drift_first_seen_timestamp_seconds", {"target_kind": "NodePool", "action": "Corrected"}, None),
        ("heal_deferred", {"reason": "OutsideWindow"}, 1),
        ("planned_actions", {"action": "Apply", "disruption": "ReplacesNodes"}, 1),
        ("pool_nodes", {"pool": "connect-server", "role": "Server"}, 3),
        ("nodeclaims_drifted", {"pool": "connect-server", "role": "Server"}, 2),
        ("check", {"check": "ServersOnPool", "result": "Failed"}, 1),
        ("limitation", {"limitation": "SingleReplica"}, 1),
        ("foreign_pods", {"pool": "connect-server"}, 1),
        ("orphaned_jobs", {}, 4),
        ("release_revision", {}, 7),
        ("release_attempt_started_timestamp_seconds", {"phase": "Upgrading"}, NOW.timestamp() - 20 * 60),
        ("profile_interval_seconds", {}, 300),
        ("last_success_timestamp_seconds", {}, 0),
        ("server_restarts_caused_total", {"cause": "correction"}, 0),
    ],
)
def test_status_is_what_is_shown(name: str, labels: dict[str, str], value: float | None) -> None:
    shown = sample(Metrics(lambda: [busy_profile()]), name, profile="production", **labels)
    assert shown == value


def test_a_profile_without_a_status_has_an_interval_and_little_else() -> None:
    counts = Metrics(lambda: [profile()])
    shown = {each.name for metric in counts.registry.collect() for each in metric.samples if "profile" in each.labels}
    assert shown == {
        f"{PREFIX}{name}" for name in ("profile_info", "profile_interval_seconds", "last_success_timestamp_seconds")
    }


def test_series_vanish_with_the_profile() -> None:
    living = [busy_profile("one"), busy_profile("two")]
    counts = Metrics(lambda: living)
    for each in living:
        counts.reconciled(each.uid, "success", 0.1)
        counts.restarts_servers(each, correction=True)
    gone = living.pop()
    counts.forget(gone)
    shown = {each.labels.get("profile") for metric in counts.registry.collect() for each in metric.samples}
    assert shown == {None, "one"}
    living.append(replace(gone))  # back under the same uid, as nothing was
    assert sample(counts, "last_success_timestamp_seconds", profile="two") == 0
    assert sample(counts, "server_restarts_caused_total", profile="two", cause="correction") == 0
    assert sample(counts, "server_restarts_caused_total", profile="one", cause="correction") == 1


def test_two_operators_in_one_process_do_not_clash() -> None:
    first, second = Metrics(), Metrics(leading=lambda: False)
    first.reconciled("uid", "error", 1)
    assert sample(first, "reconcile_total", result="error") == 1
    assert sample(second, "reconcile_total", result="error") == 0
    assert (sample(first, "is_leader"), sample(second, "is_leader")) == (1, 0)


def test_only_success_moves_the_time_of_the_last_one() -> None:
    counts = Metrics(lambda: [profile()])
    for result in ("error", "fault"):
        counts.reconciled("uid-of-production", result, 0.1)
    assert sample(counts, "last_success_timestamp_seconds", profile="production") == 0
    counts.reconciled("uid-of-production", "success", 0.1)
    assert sample(counts, "last_success_timestamp_seconds", profile="production") == pytest.approx(time.time(), abs=60)
    assert sample(counts, "reconcile_duration_seconds_count") == 3


def test_a_heal_is_counted_with_the_time_since_its_first_sight() -> None:
    counts = Metrics()
    seen = steady(bend={"connect-server": patch({"weight": 6})})
    decided = plan(seen, NOW)
    assert any(action.drift for action in decided.actions)
    counts.acted(seen, decided, Outcome(done=decided.actions), NOW, NOW + timedelta(milliseconds=4))
    assert sample(counts, "drift_detected_total", target_kind="NodePool") == 1
    assert sample(counts, "heal_total", target_kind="NodePool", result="success") == 1
    assert sample(counts, "heal_duration_seconds_sum", target_kind="NodePool") == pytest.approx(0.004)


def test_what_an_earlier_pass_saw_is_not_detected_again_and_was_there_since_then() -> None:
    counts = Metrics()
    seen = steady(bend={"connect-server": patch({"weight": 6})})
    decided = plan(seen, NOW)
    (action,) = (action for action in decided.actions if action.drift)
    since = NOW - timedelta(hours=2)
    item = {"path": action.fields[0], "firstSeen": since.isoformat(), "lastSeen": since.isoformat()}
    known = {**STATUS, "drift": {"total": 1, "items": [{**item, "target": action.target, "action": "Deferred"}]}}
    seen = replace(seen, draft=profile(status=known).status)
    counts.acted(seen, decided, Outcome(done=decided.actions), NOW, NOW)
    assert sample(counts, "drift_detected_total", target_kind="NodePool") == 0
    assert sample(counts, "heal_duration_seconds_sum", target_kind="NodePool") == 7200


def test_a_correction_that_fails_is_no_heal() -> None:
    counts = Metrics()
    seen = steady(bend={"connect-server": patch({"weight": 6})})
    decided = plan(seen, NOW)
    error = KubeError(403, Reason.FORBIDDEN, "no", Retry.USER)
    failed = Outcome(failed=tuple((action, error) for action in decided.actions))
    counts.acted(seen, decided, failed, NOW, NOW)
    assert sample(counts, "heal_total", target_kind="NodePool", result="error") == 1
    assert sample(counts, "heal_total", target_kind="NodePool", result="success") == 0


def test_an_upgrade_that_corrects_has_healed_since_the_first_sight_of_the_release() -> None:
    counts = Metrics()
    counts.release_healed(busy_profile(), NOW.isoformat(), NOW)
    assert sample(counts, "heal_duration_seconds_sum", target_kind="Release") == 20 * 60
    counts.release_healed(profile(RELEASE), (NOW - timedelta(minutes=1)).isoformat(), NOW)
    assert sample(counts, "heal_duration_seconds_sum", target_kind="Release") == 21 * 60
    counts.not_healed("Release")
    assert sample(counts, "heal_total", target_kind="Release", result="error") == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "labels"),
    [
        ("GET", SECRETS, 200, ("list", "secrets", "200")),
        ("WATCH", SECRETS, 410, ("watch", "secrets", "410")),
        ("GET", f"{SECRETS}/one", 404, ("get", "secrets", "404")),
        ("GET", "/api/v1/namespaces/posit", 200, ("get", "namespaces", "200")),
        ("GET", "/api/v1/nodes", 200, ("list", "nodes", "200")),
        ("PATCH", "/apis/karpenter.sh/v1/nodepools/connect-server", 0, ("patch", "nodepools", "error")),
        (
            "PATCH",
            "/apis/connect-autoscaler.io/v1alpha1/connectautoscalingprofiles/production/status",
            200,
            ("patch", "connectautoscalingprofiles/status", "200"),
        ),
        ("POST", "/apis/events.k8s.io/v1/namespaces/default/events", 201, ("create", "events", "201")),
        ("DELETE", f"{SECRETS}/one", 200, ("delete", "secrets", "200")),
        ("GET", "/apis/karpenter.sh/v1", 200, ("get", "discovery", "200")),
        ("GET", "/apis", 200, ("get", "discovery", "200")),
    ],
)
def test_requests_are_named_as_rights_are(method: str, path: str, status: int, labels: tuple[str, str, str]) -> None:
    counts = Metrics()
    counts.requested(method, path, status)
    verb, resource, code = labels
    assert sample(counts, "api_requests_total", verb=verb, resource=resource, code=code) == 1


def test_names_are_told_once() -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    assert all(name.startswith((PREFIX, "process_")) for name in exported(busy()))


async def test_a_scrape_of_many_profiles_is_whole_and_lets_others_have_their_turn() -> None:
    counts = Metrics(lambda: [busy_profile(f"profile-{number}") for number in range(200)])
    turns, done = 0, asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    parts = [part async for part in written(counts)]
    done.set()
    await beside
    assert turns >= len(parts) > len(FIGURES)
    assert max(part.count(b"\n") for part in parts) <= 502
    assert b"".join(parts).count(b"\nconnect_autoscaling_condition{") == 200 * 2 * 3
    assert b"".join(parts).count(b"# TYPE connect_autoscaling_condition ") == 1
