"""Helm's release Secrets: what is read of them, and that nothing of a broken one is ever shown."""

import base64
import copy
import gzip
import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from connect_autoscaler.release.history import SECRET_TYPE, Entries, Entry, UnreadableError, decode
from unit.release_builders import release, secret

Json = dict[str, Any]

MARKER = "MARKER-SECRET-password"
CONFIG: Json = {"config": {"Postgres": {"Password": MARKER}}, "nothing": None, "replicas": 2}


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_a_revision_of_helm_4(packed: bool) -> None:  # noqa: FBT001
    raw = release(CONFIG, number=7, manifest="---\nkind: Service\n", defaults={"replicas": 1})
    found = decode(secret(raw, packed=packed, attempt="a-1"))
    assert (found.number, found.status, found.description) == (7, "deployed", "Upgrade complete")
    assert found.deployed_at == datetime(2026, 3, 2, 7, 30, 0, 987654, tzinfo=UTC)
    assert (found.chart, found.chart_version, found.app_version) == ("rstudio-connect", "0.21.0", "2026.08.0")
    assert (found.apply_method, found.has_hooks, found.rollback_to) == ("ssa", False, None)
    assert found.config == CONFIG, "nulls, too"
    assert found.defaults == {"replicas": 1}
    assert found.templates == {"templates/NOTES.txt": b"Thank you."}
    assert found.manifest == "---\nkind: Service\n"
    assert found.attempt == "a-1"
    assert secret(raw)["type"] == SECRET_TYPE


def test_a_revision_shows_no_values() -> None:
    found = decode(secret(release(CONFIG, manifest=MARKER, defaults={"a": MARKER})))
    assert MARKER not in repr(found)


def test_helm_3_wrote_no_apply_method_and_applied_from_the_client() -> None:
    assert decode(secret(release(apply_method=None))).apply_method == "csa"
    assert decode(secret(release(apply_method=""))).apply_method == "csa"
    assert decode(secret(release(apply_method="csa"))).apply_method == "csa"


def test_what_is_not_there() -> None:
    raw = release(config=None)
    raw["config"] = raw["manifest"] = raw["hooks"] = None
    raw["chart"]["values"] = raw["chart"]["templates"] = None
    raw["info"] = {"status": "failed", "last_deployed": "0001-01-01T00:00:00Z"}
    del raw["chart"]["metadata"]["appVersion"]
    found = decode(secret(raw))
    assert (found.config, found.defaults, found.templates) == ({}, {}, {})
    assert (found.description, found.deployed_at, found.app_version) == ("", None, "")
    assert (found.attempt, found.has_hooks) == (None, False)


def test_hooks_and_a_rollback() -> None:
    raw = release(hooks=[{"name": "job"}])
    raw["info"]["rollback_revision"] = 3
    found = decode(secret(raw))
    assert (found.has_hooks, found.rollback_to) == (True, 3)


def _entry(number: int, status: str = "superseded") -> Entry:
    found = Entry.of(secret(release(number=number), status=status))
    assert found is not None
    return found


def test_metadata() -> None:
    found = _entry(12, "deployed")
    assert found == Entry("sh.helm.release.v1.connect.v12", "uid-of-v12", "112", 12, "deployed")


@pytest.mark.parametrize("labels", [{}, {"version": ""}, {"version": "one"}, {"version": "-1"}])
def test_what_is_no_revision(labels: Json) -> None:
    other = secret(release())
    other["metadata"]["labels"] = labels
    assert Entry.of(other) is None
    del other["metadata"]["labels"]
    assert Entry.of(other) is None


def test_revisions_are_numbers_and_not_names() -> None:
    found = Entries.of([_entry(10, "deployed"), _entry(9, "superseded"), _entry(1), _entry(2)])
    assert found is not None
    assert (found.last.number, found.deployed and found.deployed.number, found.count) == (10, 10, 4)


def test_the_newest_deployed_tells_the_values_and_the_last_one_the_lock() -> None:
    entries = [_entry(8, "deployed"), _entry(9, "deployed"), _entry(10, "failed"), _entry(11, "pending-upgrade")]
    found = Entries.of(reversed(entries))
    assert found is not None
    assert (found.last.number, found.last.pending) == (11, True)
    assert found.deployed is entries[1]


def test_a_release_that_was_never_deployed_and_none_at_all() -> None:
    found = Entries.of([_entry(1, "failed"), _entry(2, "pending-install")])
    assert found is not None
    assert found.deployed is None
    assert Entries.of([]) is None


@pytest.mark.parametrize(
    ("status", "pending", "deployed"),
    [
        ("deployed", False, True),
        ("superseded", False, False),
        ("failed", False, False),
        ("uninstalled", False, False),
        ("uninstalling", True, False),
        ("pending-install", True, False),
        ("pending-upgrade", True, False),
        ("pending-rollback", True, False),
        ("unknown", False, False),
    ],
)
def test_statuses(status: str, pending: bool, deployed: bool) -> None:  # noqa: FBT001
    found = _entry(1, status)
    assert (found.pending, found.deployed) == (pending, deployed)


def _text(text: str) -> Json:
    return secret(text.encode(), packed=False)


def _without(*path: str) -> Json:
    raw = copy.deepcopy(release(CONFIG))
    node = raw
    for part in path[:-1]:
        node = node[part]
    del node[path[-1]]
    return {**secret(release()), "data": secret(raw | {"version": raw.get("version", 1)})["data"]}


def _cut_short() -> Json:
    packed = gzip.compress(json.dumps(release(CONFIG)).encode())
    return {
        **secret(release()),
        "data": {"release": base64.b64encode(base64.b64encode(packed[: len(packed) // 2])).decode()},
    }


def _corrupt() -> Json:
    packed = bytearray(gzip.compress(json.dumps(release(CONFIG)).encode(), mtime=0))
    packed[len(packed) // 2] ^= 0xFF
    return {**secret(release()), "data": {"release": base64.b64encode(base64.b64encode(bytes(packed))).decode()}}


def _with(**fields: Any) -> Json:
    return secret({**release(CONFIG), "version": 1, **fields})


BROKEN: dict[str, Callable[[], Json]] = {
    "no data": lambda: {key: value for key, value in secret(release(CONFIG)).items() if key != "data"},
    "null data": lambda: {**secret(release(CONFIG)), "data": None},
    "another key": lambda: {**secret(release()), "data": {"other": MARKER}},
    "not base64": lambda: {**secret(release()), "data": {"release": MARKER}},
    "not base64 inside": lambda: {**secret(release()), "data": {"release": base64.b64encode(b"a" + MARKER.encode())}},
    "cut short": _cut_short,
    "corrupt": _corrupt,
    "no JSON": lambda: _text(f'{{"config": {{"Password": "{MARKER}"'),
    "no text": lambda: secret(b"\xff\xfe" + MARKER.encode(), packed=False),
    "a list": lambda: _text(f'["{MARKER}"]'),
    "text": lambda: _text(f'"{MARKER}"'),
    "null": lambda: _text("null"),
    "no info": lambda: _without("info"),
    "no chart": lambda: _without("chart"),
    "no metadata": lambda: _without("chart", "metadata"),
    "info is text": lambda: _with(info=MARKER),
    "chart is text": lambda: _with(chart=MARKER),
    "templates without data": lambda: _with(
        chart={"metadata": {"name": "a", "version": "1"}, "templates": [{"name": MARKER}]}
    ),
    "time is text": lambda: _with(info={"status": "deployed", "last_deployed": MARKER}),
}


@pytest.mark.parametrize("build", BROKEN.values(), ids=BROKEN)
def test_a_broken_secret_says_so_and_shows_nothing(build: Callable[[], Json]) -> None:
    broken = build()
    with pytest.raises(
        UnreadableError, match=r"Secret sh\.helm\.release\.v1\.connect\.v1 is no Helm release: "
    ) as caught:
        decode(broken)
    error = caught.value
    shown = traceback.TracebackException.from_exception(error, capture_locals=False)
    text = "".join(shown.format())
    assert MARKER not in text
    assert error.__cause__ is None
    assert error.__suppress_context__, "the errors that it came from hold values"
    assert "During handling" not in text


def test_a_version_that_is_no_number() -> None:
    broken = secret(release(CONFIG))
    broken["data"] = {
        "release": base64.b64encode(
            base64.b64encode(json.dumps({**release(CONFIG), "version": MARKER}).encode())
        ).decode()
    }
    with pytest.raises(UnreadableError) as caught:
        decode(broken)
    assert MARKER not in "".join(traceback.format_exception(caught.value))
