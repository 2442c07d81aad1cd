"""What is remembered of a release: read back as written, and no secret shows in it."""

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.release.state import Holder, Record, State
from unit.builders import NOW, Json
from unit.values_strategies import documents

SECRET = "hunter2-hunter2"  # noqa: S105 - looked for where it must not be
HOLDER = Holder("host", "uid-of-pod", 7, "born")
PRIOR: Json = {"/nodeSelector/workload": {"had": True, "value": SECRET}}
RECORD = Record(
    id="a1", overlay={"x": SECRET}, prior=PRIOR, base=3, config="0a", holder=HOLDER, started=NOW.isoformat(), cause="c",
    corrects="helm upgrade",
)  # fmt: skip
STATE = State("salt", applied={"y": SECRET}, prior=PRIOR)


def read(state: State) -> State | None:
    return State.of(state.secret("name", "posit", "production", "uid"))


@pytest.mark.parametrize(
    "state",
    [
        State.new(),
        STATE,
        STATE.begin(RECORD),
        STATE.begin(RECORD).succeeded(NOW),
        STATE.begin(RECORD).failed(Reason.TIMEOUT, "not ready"),
        STATE.begin(replace(RECORD, holder=replace(HOLDER, pod=None), corrects=None)),
    ],
    ids=["new", "taken over", "begun", "succeeded", "failed", "outside of a cluster"],
)
def test_it_is_read_back_as_it_was_written(state: State) -> None:
    assert read(state) == state


def test_the_secret_carries_our_marks_and_no_owner() -> None:
    body = STATE.secret("name", "posit", "production", "uid")
    assert body["metadata"]["labels"]["connect-autoscaler.io/profile"] == "production"
    assert body["metadata"]["annotations"]["connect-autoscaler.io/profile-uid"] == "uid"
    assert "ownerReferences" not in body["metadata"], "a foreground deletion would take it away before it is needed"


def test_values_show_in_no_text() -> None:
    assert SECRET not in repr(STATE.begin(RECORD))
    assert SECRET not in repr(RECORD)


def encoded(raw: object) -> Json:
    return {"data": {"state": base64.b64encode(json.dumps(raw).encode()).decode()}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": None},
        {"data": {}},
        {"data": {"state": "%"}},
        {"data": {"state": base64.b64encode(b"\xff{").decode()}},
        encoded({}),
        encoded({"salt": "s", "applied": {}, "prior": {}, "corrections": [["one"]]}),
        encoded({"salt": "s", "applied": {}, "prior": {}, "corrections": [], "record": {"id": "a1"}}),
    ],
)
def test_what_is_not_ours_is_not_read(body: Json) -> None:
    assert State.of(body) is None


def test_what_another_version_wrote_is_read_as_far_as_it_is_known() -> None:
    body = STATE.begin(RECORD).failed(Reason.TIMEOUT, "").secret("name", "posit", "production", "uid")
    raw = json.loads(base64.b64decode(body["data"]["state"]))
    raw["record"] |= {"reason": "OfTheFuture", "more": 1}
    found = State.of(encoded({**raw, "more": 1}))
    assert found is not None
    assert found.record is not None
    assert found.record.reason is None
    assert found.record.finished


def test_success() -> None:
    done = STATE.begin(RECORD).succeeded(NOW)
    assert (done.applied, done.prior) == (RECORD.overlay, RECORD.prior)
    assert done.record is not None
    assert (done.record.finished, done.record.reason) == (True, None)
    assert done.corrections == ((NOW.isoformat(), "helm upgrade"),)
    change = STATE.begin(replace(RECORD, corrects=None)).succeeded(NOW)
    assert change.corrections == (), "a change of the profile corrects nobody"
    assert STATE.succeeded(NOW) == STATE


def test_failure_changes_nothing_but_the_record() -> None:
    failed = STATE.begin(RECORD).failed(Reason.ROLLED_BACK, "not ready")
    assert (failed.applied, failed.prior, failed.corrections) == (STATE.applied, STATE.prior, ())
    assert failed.record is not None
    assert (failed.record.finished, failed.record.reason, failed.record.message) == (
        True,
        Reason.ROLLED_BACK,
        "not ready",
    )
    assert STATE.failed(Reason.TIMEOUT, "") == STATE


def test_what_the_user_put_there_himself() -> None:
    found = State.new().found({"z": 1}, {"/z": {"had": True, "value": 1}})
    assert (found.applied, found.prior, found.record) == ({"z": 1}, {"/z": {"had": True, "value": 1}}, None)


def test_only_the_last_corrections_are_kept() -> None:
    state = STATE
    for hour in range(30):
        state = state.begin(RECORD).succeeded(NOW + timedelta(hours=hour))
    times = [time for time, _ in state.corrections]
    assert len(times) <= 20
    assert times == sorted(times)
    assert times[-1] == (NOW + timedelta(hours=29)).isoformat()


@given(documents())
def test_a_digest_is_the_same_after_helm_has_stored_the_values(values: Json) -> None:
    def as_helm_does(value: object) -> object:
        if isinstance(value, dict):
            return {key: as_helm_does(each) for key, each in reversed(value.items())}
        if isinstance(value, list):
            return [as_helm_does(each) for each in value]
        return float(value) if type(value) is int else value

    stored = as_helm_does(values)
    assert isinstance(stored, dict)
    assert STATE.digest(values) == STATE.digest(stored)


@given(documents(), st.sampled_from([1, 2]))
def test_a_digest_tells_values_and_releases_apart(values: Json, more: int) -> None:
    assert STATE.digest({**values, "replicas": more}) != STATE.digest({**values, "replicas": more + 1})
    assert STATE.digest(values) != replace(STATE, salt="other").digest(values), (
        "a short secret cannot be guessed from it"
    )
    assert State.new().salt != State.new().salt


def test_true_is_not_one() -> None:
    assert STATE.digest({"a": True}) != STATE.digest({"a": 1})
    assert STATE.digest({"a": "1"}) != STATE.digest({"a": 1})


def test_causes() -> None:
    cause = STATE.cause("digest", {"a": 1}, 1, None)
    assert cause == STATE.cause("digest", {"a": 1}, 1, None)
    for other in (("other", {"a": 1}, 1, None), ("digest", {"a": 2}, 1, None), ("digest", {"a": 1}, 2, None),
                  ("digest", {"a": 1}, 1, "now")):  # fmt: skip
        assert STATE.cause(*other) != cause
