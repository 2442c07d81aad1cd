"""A sample of the fuzzing, and what it has found: `python -m reliability.fuzz` takes a hundred thousand inputs."""

import base64
import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from connect_autoscaler.api.profile import Profile
from connect_autoscaler.core.cache import Raw
from connect_autoscaler.core.engine import _decisive
from connect_autoscaler.handlers import _claim
from connect_autoscaler.release.history import UnreadableError, decode
from connect_autoscaler.release.refusals import refusal
from connect_autoscaler.release.state import State
from profile_specs import SMALLEST
from reliability import fuzz
from reliability.fuzz_inputs import bomb, rng
from reliability.fuzz_targets import MANIFEST, TARGETS, Target, _assessed
from unit.builders import live_pool, profile
from unit.release_builders import release, secret, subject

Json = dict[str, Any]

SAMPLE = int(os.environ.get("FUZZ_INPUTS", "3000"))


def test_a_sample_is_taken() -> None:
    found = fuzz.batch(fuzz.SEED, 0, SAMPLE)
    assert not found.failures, found.failures
    assert sum(found.inputs.values()) == SAMPLE
    assert set(found.inputs) == set(TARGETS)
    assert found.peak < 400


def test_inputs_follow_from_their_seed() -> None:
    for name, target in TARGETS.items():
        one, same, other = (json.dumps(target.make(rng(seed, name, 7))) for seed in (1, 1, 2))
        assert one == same != other


def test_a_failure_is_found_made_smaller_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(document: Json) -> None:
        if document.get("b"):
            raise KeyError(document["b"])

    monkeypatch.setitem(TARGETS, "broken", Target(lambda _: None, take, 0))
    error = fuzz.fault("broken", {"a": [1], "b": [2, 3]})
    assert error is not None
    failure = fuzz._failure("broken", 1, 2, {"a": [1], "b": [2, 3]}, error)
    assert json.loads(failure.smallest) == {"b": [3]}
    fuzz.save(fuzz.Batch("x", "failed", 0, "", {}, failures=[failure]), tmp_path)
    assert json.loads((tmp_path / "broken-1-2.json").read_text())["number"] == 2
    assert fuzz.fault("broken", {}) is None


def test_the_end_of_a_process_is_a_failure_of_the_input_that_ended_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = fuzz.batch(1, 5, 6)
    assert (found.verdict, found.failures[0].number) == ("failed", 5)


# What it has found.


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(bomb, id="unpacks to a gigabyte"),
        pytest.param(lambda: gzip.compress(b"[" * 100_000), id="deeper than JSON is read"),
        pytest.param(lambda: gzip.compress(b" " * (17 << 20)), id="just too large"),
    ],
)
def test_a_secret_that_would_take_all_memory_is_unreadable(raw: Any) -> None:
    broken = secret(release())
    broken["data"]["release"] = base64.b64encode(base64.b64encode(raw())).decode()
    with pytest.raises(UnreadableError, match="is no Helm release"):
        decode(broken)


def _nested(levels: int) -> Any:
    node: Any = "end"
    for _ in range(levels):
        node = {"a": node}
    return node


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("config", _nested(200)),
        ("config", ["a"]),
        ("config", "text"),
        ("manifest", 5),
        ("version", float("inf")),
        ("info", {"status": 7}),
        ("info", {"status": "deployed", "last_deployed": "2026-01-01"}),
        ("info", {"status": "deployed", "rollback_revision": "x"}),
    ],
)
def test_a_release_of_another_shape_is_unreadable(field: str, value: Any) -> None:
    whole = {**release(), field: value}
    with pytest.raises(UnreadableError, match="is no Helm release"):
        decode({**secret(release()), "data": secret({**whole, "version": whole["version"]})["data"]})


def test_half_a_character_is_replaced() -> None:
    raw = release()
    raw["info"]["description"] = "a\ud800"
    assert decode(secret(raw)).description == "a?"


@pytest.mark.parametrize(
    "manifest",
    [
        "\x00",
        "[" * 5000,
        "kind: [a]\nmetadata: {name: b}",
        MANIFEST.replace("containers:", "containers: 5\n      was:"),
        MANIFEST.replace("data:\n", "data: 5\nwas:\n"),
        "kind: Service\nspec: {selector: [a]}",
        MANIFEST.replace("matchLabels: {app: connect}", "matchLabels: [null]"),
        MANIFEST.replace("matchLabels: {app: connect}", "matchLabels: 5"),
    ],
)
def test_a_manifest_of_another_shape_does_no_harm(manifest: str) -> None:
    _assessed(decode(secret(release(manifest=manifest))))  # an UnreadableError at most


def test_a_kind_that_is_no_text_is_refused_in_words() -> None:
    found = refusal(subject({"backends": {"kubernetes": {"defaultResourceJobBase": {"kind": {"a": "b"}}}}}))
    assert found is not None
    assert "must be Job" in found.message


@pytest.mark.parametrize(
    "change",
    [
        {"salt": {"a": "b"}},
        {"salt": "\ud800"},
        {"applied": 5},
        {"applied": ["a"]},
        {"prior": {"/a": 5}},
        {"prior": {"/a": {"had": False}}},
        {"prior": {"/a": {"had": True}}},
        {"corrections": [[1, 2]]},
    ],
)
def test_a_memory_that_somebody_has_edited_is_none(change: Json) -> None:
    body = State("ab").secret("a", "b", "c", "d")
    raw = json.loads(base64.b64decode(body["data"]["state"]))
    assert State.of(body) == State("ab")
    body["data"]["state"] = base64.b64encode(json.dumps({**raw, **change}).encode()).decode()
    assert State.of(body) is None


@pytest.mark.parametrize("status", [5, "text", {"conditions": 5}, {"nodePools": [{"name": []}]}, {"plan": {"a": 1}}])
def test_a_status_that_cannot_be_read_is_made_anew(status: Any) -> None:
    metadata = {
        "name": "a",
        "uid": "b",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2026-03-01T08:00:00Z",
    }
    assert Profile.of({"metadata": metadata, "spec": SMALLEST, "status": status}).status == profile().status
    assert Profile.bare({"metadata": metadata, "spec": 5, "status": status}).status == profile().status


@pytest.mark.parametrize("status", [5, {"conditions": 5}, {"conditions": ["a"]}, {"conditions": [{"status": "True"}]}])
def test_events_of_another_shape_do_no_harm(status: Any) -> None:
    pool = {**live_pool(profile(), "connect-server"), "status": status}
    assert _decisive(Raw(pool)) == _decisive(Raw(pool))
    claim: Any = {"metadata": pool["metadata"], "spec": {}, "status": status}
    assert _claim(claim) is None
