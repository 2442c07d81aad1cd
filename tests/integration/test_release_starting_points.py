"""What becomes of releases as users have them, rendered: the overlay shows in the objects, and nothing else changes.

On the stand-in chart, and on the vendor's where `CONNECT_CHART` names a folder or an archive of it.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from connect_autoscaler.release.manifest import (
    ObjectKey,
    changed,
    find_server,
    in_effect,
    objects,
    place,
    restarts,
    shown_by,
)
from connect_autoscaler.release.merge import differences, merge
from connect_autoscaler.release.values import effective, get
from release_points import FILES, STAND_IN, Point, load
from sandbox.build import find

Json = dict[str, Any]
Objects = dict[ObjectKey, Json]

VENDOR = os.environ.get("CONNECT_CHART", "")
CHARTS = {"stand-in": STAND_IN} | ({"vendor": Path(VENDOR).resolve()} if VENDOR else {})
GOLDEN = STAND_IN.parents[1] / "unit" / "golden" / "releases"
# The others are refused before anything is rendered.
POINTS = [load(file) for file in FILES if "values" in yaml.safe_load((GOLDEN / file.name).read_text())]
every_point = pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)


@pytest.fixture(scope="module", params=list(CHARTS.values()), ids=list(CHARTS))
def chart(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def rendered(chart: Path, values: Mapping[str, Any]) -> Objects:
    """Render as the operator does: all values, as JSON on standard input."""
    command = [str(find("helm")), "template", "connect", str(chart), "--namespace", "posit", "--values", "-"]
    run = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return objects(run.stdout, "posit")


def test_most_of_them_are_merged() -> None:
    assert len(POINTS) >= 10


@every_point
def test_the_overlay_shows_in_the_objects_and_nothing_else_changes(chart: Path, point: Point) -> None:
    merged = merge(point.values, point.defaults, {}, point.wanted, {})
    before, after = rendered(chart, point.values), rendered(chart, merged.values)
    server = find_server(after)
    assert server is not None
    assert server.config is not None
    assert get(after[server.deployment], ("spec", "selector", "matchLabels")) == point.selector

    expected = in_effect(effective(point.defaults, merged.values), point.wanted)
    assert differences(shown_by(after, server), expected) == ()

    missing = differences(shown_by(before, server), expected)
    assert {change.pointer for change in missing} == {change.pointer for change in merged.needed}
    for change in missing:
        key = server.config if place(change.pointer).in_config else server.deployment
        assert before[key] != after[key]

    assert set(changed(before, after)) == {server.deployment, server.config}
    assert restarts(before, after, server)
    for name in ("replicas", "strategy", "selector"):
        assert before[server.deployment]["spec"].get(name) == after[server.deployment]["spec"].get(name)


@every_point
def test_what_was_there_renders_the_same_again(chart: Path, point: Point) -> None:
    merged = merge(point.values, point.defaults, {}, point.wanted, {})
    back = merge(merged.values, point.defaults, point.wanted, {}, merged.prior)
    assert changed(rendered(chart, point.values), rendered(chart, back.values)) == ()
