"""What becomes of releases as users have them: the merged values exactly, or the reason against them.

`golden/releases/` is rewritten by `UPDATE_GOLDEN=1 pytest tests/unit/test_release_starting_points.py`.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from connect_autoscaler.release.history import decode
from connect_autoscaler.release.merge import Change, Merged, merge
from connect_autoscaler.release.refusals import Subject, refusal
from connect_autoscaler.release.values import effective
from release_points import FILES, MARKER, Point, load, pools
from unit.release_builders import release, secret

Json = dict[str, Any]

GOLDEN = Path(__file__).parent / "golden" / "releases"
POINTS = [load(file) for file in FILES]
every_point = pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)


def subject(point: Point) -> Subject:
    raw = release(
        point.values,
        defaults=point.defaults,
        chart_version=point.chart_version,
        app_version=point.app_version,
        apply_method=point.apply_method,
    )
    found = decode(secret(raw))
    server, *content = pools()
    return Subject(
        revision=found,
        values=effective(found.defaults, found.config),
        merged=merge(found.config, found.defaults, {}, point.wanted, {}),
        deployment={},
        server_pools=[server],
        content_pools=content,
        access_modes={},
    )


def outcome(seen: Subject) -> Json:
    if problem := refusal(seen):
        return {"reason": problem.reason.value, "message": problem.message}
    kept = [change.pointer for change in seen.merged.kept]
    return {"values": seen.merged.values} | ({"kept": kept} if kept else {})


def test_there_are_twelve_and_a_golden_file_for_each() -> None:
    assert len(POINTS) >= 12
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == {point.name for point in POINTS}
    assert all(file.read_text().startswith("# ") for file in FILES), "each says what it is"


@every_point
def test_golden(point: Point) -> None:
    file = GOLDEN / f"{point.name}.yaml"
    made = outcome(subject(point))
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(yaml.safe_dump(made, sort_keys=False, width=120))
    golden = yaml.safe_load(file.read_text())
    assert json.dumps(made) == json.dumps(golden), "in this order, too"


@every_point
def test_what_was_there_comes_back(point: Point) -> None:
    merged = subject(point).merged
    prior = json.loads(json.dumps(merged.prior))
    assert merge(merged.values, point.defaults, point.wanted, {}, prior).values == point.values
    again = merge(merged.values, point.defaults, point.wanted, point.wanted, prior)
    assert (again.changes, again.values) == ((), merged.values)


@every_point
def test_no_secret_is_shown(point: Point) -> None:
    seen = subject(point)
    assert MARKER not in "".join(_told(seen.merged))
    assert MARKER not in repr(seen)
    problem = refusal(seen)
    assert problem is None or MARKER not in problem.message


def _told(merged: Merged) -> Iterator[str]:
    changes: tuple[Change, ...] = (*merged.changes, *merged.kept, *merged.refused)
    yield from map(repr, (*changes, *merged.malformed, merged))


def test_the_secrets_are_there_to_be_shown() -> None:
    seen = subject(next(point for point in POINTS if point.name == "secrets"))
    assert json.dumps(seen.merged.values).count(MARKER) == 4


def test_helm_3_applied_from_the_client() -> None:
    methods = {point.name: subject(point).revision.apply_method for point in POINTS}
    assert {name for name, method in methods.items() if method == "csa"} == {"helm-3"}
