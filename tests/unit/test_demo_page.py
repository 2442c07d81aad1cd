"""The page about what happened on a cluster: what a record makes of events, and what becomes of it in a browser."""

import base64
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import Record, Table, Watched, page
from recorder.charts import conditions, corrections, nodes, places, verdict
from recorder.record import NODES, PODS, POOLS, PROFILES, Condition
from recorder.style import DARK, LIGHT, THEMES, Clock, drawn, recoloured
from sandbox import eventually
from unit.chromium import browser

Json = dict[str, Any]

WATCHED: Final = Watched("production", "posit", "connect")
SERVER, CONTENT, OPEN = "connect-server", "connect-content", "default"
OLD, NEW = "connect-rstudio-connect-5c887cf4d4-mpljx", "connect-rstudio-connect-66849598fc-xsnx6"
CHARTS: Final = (nodes, places, corrections, conditions)
GOOD: Final = {
    "Ready": ("True", "InSync"),
    "NodePoolsReady": ("True", "AllReady"),
    "ReleaseConfigured": ("True", "Configured"),
    "PlacementVerified": ("True", "PodsOnServerPool"),
    "Drifted": ("False", "NoDrift"),
}


def empty() -> Record:
    return Record(WATCHED, datetime(2026, 11, 23, 15, 0, tzinfo=UTC))


def node(name: str, pool: str, capacity: str = "on-demand", price: str | None = "0.108") -> Json:
    labels = {"karpenter.sh/nodepool": pool, "karpenter.sh/capacity-type": capacity}
    labels |= {"node.kubernetes.io/instance-type": "c-4x-amd64-linux"}
    labels |= {"eks-node-viewer/instance-price": price} if price else {}
    return {"metadata": {"uid": name, "name": name, "labels": labels}}


def pod(name: str, on: str | None, phase: str = "Running", *, server: bool = False) -> Json:
    labels = {"app.kubernetes.io/instance": "connect"} if server else {"app.kubernetes.io/name": "rstudio_connect"}
    spec = {"nodeName": on} if on else {}
    return {"metadata": {"uid": name, "name": name, "labels": labels}, "spec": spec, "status": {"phase": phase}}


def pool(name: str, *, owner: str = "production", **spec: Any) -> Json:
    return {"metadata": {"name": name, "uid": name, "labels": {"connect-autoscaler.io/profile": owner}}, "spec": spec}


def profile(said: dict[str, tuple[str, str]], *items: Json) -> Json:
    found = [{"type": kind, "status": s, "reason": r, "message": "As asked for"} for kind, (s, r) in said.items()]
    spec = {"serverPool": {"name": SERVER}, "contentPool": {"name": CONTENT}}
    status = {"conditions": found, "drift": {"items": list(items)}}
    return {"metadata": {"name": "production", "uid": "p"}, "spec": spec, "status": status}


def item(of: str, path: str, manager: str = "kubectl-edit", **more: str) -> Json:
    return {"target": f"NodePool/{of}", "path": path, "manager": manager, "action": "Corrected", **more}


def story(seconds: float = 52.0) -> Record:
    """A record like the demo's, at its times or as much longer as `seconds` says."""
    record, slower = empty(), seconds / 52

    def see(at: float, kind: str, body: Json, event: str = "MODIFIED") -> None:
        record.see(kind, event, body, at * slower)

    see(8, NODES, node("d1", OPEN, "spot", "0.0756"))
    see(9.5, PODS, pod(OLD, "d1", server=True))
    see(14, PODS, pod("render-sales-report-abcde-x1y2z", "d1"))
    for name in (SERVER, CONTENT):
        see(15, POOLS, pool(name, a=1))
    see(15, PROFILES, profile({"Ready": ("Unknown", "Progressing"), "Reconciling": ("True", "Progressing")}))
    see(
        16,
        PROFILES,
        profile({**GOOD, "Ready": ("False", "Deferred"), "ReleaseConfigured": ("False", "OverlayMissing")}),
    )
    see(23, PODS, pod("render-sales-report-abcde-x1y2z", "d1", "Succeeded"))
    see(25, NODES, node("s1", SERVER))
    see(26, PODS, pod(NEW, None, "Pending", server=True))
    see(26.2, PODS, pod(NEW, "s1", server=True))
    see(28, PODS, pod(OLD, "d1", server=True), "DELETED")
    see(29, PROFILES, profile(GOOD))
    bends = [
        (SERVER, "/spec/disruption/consolidationPolicy", "kubectl-edit", 0.0212),
        (SERVER, "/spec/template/spec/taints[key=workload,effect=NoSchedule]", "unknown", 0.0153),
        (CONTENT, "/spec/template/metadata/labels/team", "kubectl-edit", 0.0091),
        (CONTENT, "/", "unknown", 0.0312),
        (SERVER, "/", "unknown", 0.0822),
    ]
    said: list[Json] = []
    for number, (name, path, who, took) in enumerate(bends):
        at = 31 + number * 2.3
        see(at, POOLS, pool(name, a=2), "DELETED" if path == "/" else "MODIFIED")
        record.see(POOLS, "MODIFIED", pool(name, a=1), at * slower + took)
        said.append(item(name, path, who, expected='"x"', actual='"y"'))
        see(at + 0.05, PROFILES, profile({**GOOD, "Drifted": ("True", "Corrected")}, *said))
        see(at + 0.3, PROFILES, profile(GOOD, *said))
    see(37, NODES, node("c1", CONTENT))
    see(38.5, PODS, pod("render-quarterly-figures-abcde-x1y2z", "c1"))
    see(50, NODES, node("d1", OPEN, "spot", "0.0756"), "DELETED")
    record.length = seconds
    return record


def test_lives_have_a_beginning_and_an_end() -> None:
    record = story()
    first, server, content = record.nodes()
    assert (first.pool, first.capacity, first.price, first.start, first.end) == (OPEN, "spot", 0.0756, 8, 50)
    assert (server.start, server.end, content.end) == (25, None, None)
    assert [(each.name, each.start, each.end) for each in record.pods(server=True)] == [
        (OLD, 9.5, 28),
        (NEW, 26.2, None),
    ]
    render, _ = record.pods(server=False)
    assert (render.start, render.end, render.phase) == (14, 23, "Succeeded")
    assert record.pool_names == (SERVER, CONTENT, OPEN)


def test_what_a_list_does_not_have_any_more_is_gone() -> None:
    record = empty()
    record.listed(NODES, [node("a", SERVER), node("b", SERVER)], 1)
    record.listed(PODS, [pod("p", "a"), pod("q", "a", "Succeeded")], 1)
    record.listed(POOLS, [pool(SERVER, a=1)], 1)
    record.listed(NODES, [node("b", SERVER)], 5)
    record.listed(PODS, [], 5)
    record.listed(POOLS, [], 5)
    record.listed(POOLS, [pool(SERVER, a=1)], 6)
    assert [(each.name, each.start, each.end) for each in record.nodes()] == [("a", 1, 5), ("b", 1, None)]
    assert [(each.name, each.end) for each in record.pods(server=False)] == [("p", 5), ("q", 1)]
    (correction,) = record.corrections()
    assert (correction.start, correction.end) == (5, 6)


def test_nodes_of_nobody_and_pods_of_others_do_not_count() -> None:
    record = empty()
    record.see(NODES, "ADDED", {"metadata": {"uid": "x", "name": "x"}}, 1)
    record.see(PODS, "ADDED", {"metadata": {"uid": "x", "name": "x"}, "spec": {"nodeName": "x"}}, 1)
    record.see(POOLS, "ADDED", pool("other", owner="other", a=1), 1)
    record.see(POOLS, "MODIFIED", pool("other", owner="other", a=2), 2)
    record.see(POOLS, "MODIFIED", pool("other", owner="other", a=1), 3)
    found = (record.nodes(), record.pods(server=True), record.pods(server=False), record.corrections())
    assert found == ([], [], [], [])


def test_corrections_say_what_status_says() -> None:
    found = story().corrections()
    assert [round(each.milliseconds, 1) for each in found] == [21.2, 15.3, 9.1, 31.2, 82.2]
    assert [[said["path"] for said in each.items] for each in found] == [
        ["/spec/disruption/consolidationPolicy"],
        ["/spec/template/spec/taints[key=workload,effect=NoSchedule]"],
        ["/spec/template/metadata/labels/team"],
        ["/"],
        ["/"],
    ]


def test_a_price_that_is_no_number_is_no_price() -> None:
    record = empty()
    record.see(NODES, "ADDED", node("a", SERVER, price="cheap"), 1)
    record.see(NODES, "ADDED", node("b", SERVER, price=None), 1)
    assert [each.price for each in record.nodes()] == [None, None]


@given(st.lists(st.integers(0, 3), max_size=30))
def test_only_what_comes_back_was_corrected(states: list[int]) -> None:
    record = empty()
    for at, state in enumerate(states):
        record.see(POOLS, "MODIFIED", pool(SERVER, a=state), at)
    found = record.corrections()
    assert all(before.until(0) <= after.start for before, after in pairwise(found))
    for each in found:
        assert each.end is not None
        before, wrong, right = (states[int(at)] for at in (each.start - 1, each.start, each.end))
        assert before == right != wrong
    if len(set(states)) == len(states):
        assert found == []


def test_conditions_end_when_they_say_something_else_or_are_absent() -> None:
    found = story().conditions()
    assert [(each.status, each.reason, each.start, each.end) for each in found["Ready"]] == [
        ("Unknown", "Progressing", 15, 16),
        ("False", "Deferred", 16, 29),
        ("True", "InSync", 29, None),
    ]
    (reconciling,) = found["Reconciling"]
    assert (reconciling.start, reconciling.end) == (15, 16)
    assert len(found["Drifted"]) == 1 + 2 * 5


@pytest.mark.parametrize(
    ("kind", "status", "good"),
    [
        ("Ready", "True", True),
        ("Ready", "False", False),
        ("Ready", "Unknown", None),
        ("Drifted", "False", True),
        ("Drifted", "True", False),
        ("Stalled", "True", False),
        ("Reconciling", "True", None),
    ],
)
def test_colours_tell_good_from_bad_not_true_from_false(kind: str, status: str, good: bool | None) -> None:  # noqa: FBT001 - a column of the table
    assert verdict(Condition(0, 1, kind, status)) is good


@pytest.mark.parametrize(("length", "unit"), [(52, "seconds"), (1800, "minutes"), (86400, "hours")])
def test_time_is_told_in_a_unit_that_suits_it(length: float, unit: str) -> None:
    assert Clock.of(length).unit == unit


@pytest.mark.parametrize("length", [52.0, 86400.0])
@pytest.mark.parametrize("chart", CHARTS)
def test_nothing_is_cut_off_and_no_labels_overlap(chart: Any, length: float) -> None:
    def draw(theme: Any) -> Any:
        figure = chart(story(length))(theme)
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.get_figwidth()
        assert box.y1 <= figure.get_figheight()
        for axes in figure.axes:
            for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim()))):
                labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                shown = [label for label in labels if label.get_text() and label.get_visible()]
                boxes = [label.get_window_extent() for label in shown]
                assert not [pair for pair in pairwise(boxes) if pair[0].overlaps(pair[1])]
            assert axes.get_xlabel() or axes.get_shared_x_axes().get_siblings(axes) != [axes]
        return figure

    assert drawn(draw, LIGHT, "png").startswith(b"\x89PNG")


def test_the_same_record_gives_the_same_bytes() -> None:
    assert drawn(corrections(story()), LIGHT) == drawn(corrections(story()), LIGHT)


@pytest.mark.parametrize("chart", CHARTS)
def test_a_picture_in_other_colours_is_the_other_theme_s(chart: Any) -> None:
    light, dark = (drawn(chart(story()), theme) for theme in THEMES)
    names = re.compile(rb"[mh][0-9a-f]{10}")  # of markers and hatches, made of their colours too
    assert names.sub(b"", recoloured(light, LIGHT, DARK)) == names.sub(b"", dark)
    assert len(set(LIGHT.colours())) == len(LIGHT.colours())


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_texts_can_be_read(theme: Any) -> None:
    """As WCAG 2 counts contrast: 4.5 for text, 3 for what is no text."""
    assert contrast(theme.ink, theme.paper) >= 7
    for fill in (*theme.pools, theme.good, theme.bad, theme.busy):
        assert contrast(theme.on_fill, fill) >= 4.5


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class Seen(HTMLParser):
    """What a page is made of."""

    VOID: Final = frozenset({"meta", "img", "source"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def checked(text: str) -> Seen:
    """Check what holds for every page: well-formed, complete in itself, without scripts, with texts for pictures."""
    seen = Seen(text)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in seen.tags}
    assert "@import" not in text
    assert "url(" not in text
    addresses = [
        str(attributes.get(key))
        for _, attributes in seen.tags
        for key in ("src", "srcset", "href", "data")
        if key in attributes
    ]
    assert len(addresses) == 2 * len(CHARTS)
    for address in addresses:
        head, _, data = address.partition(",")
        assert head == "data:image/svg+xml;base64"
        svg = ET.fromstring(base64.b64decode(data))  # noqa: S314 - it is our own
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
        assert re.fullmatch(r"[\d.]+pt", svg.attrib["width"])
        assert not [
            e
            for e in svg.iter()
            for k, v in e.attrib.items()
            if k.endswith("href") and not v.startswith(("#", "data:"))
        ]
    assert all(len(str(image["alt"])) > 15 for image in seen.all("img"))
    assert [attributes["lang"] for attributes in seen.all("html")] == ["en"]
    return seen


def test_the_page_is_complete_in_itself() -> None:
    table = Table("What was done", ("", "what", "time (ms)"), [("1", "a taint removed", "15.3")], "Counted so")
    seen = checked(page(story(), "The demo", "What happened.", [table]))
    said: tuple[str, ...] = (
        "The demo",
        "What happened.",
        "What was done",
        "a taint removed",
        "Counted so",
        OLD,
        NEW,
        "spot",
        "0.0756",
    )
    said += ("Deferred", "kubectl-edit", "21.2", "2026-11-23 15:00:00 UTC", "eks-node-viewer/instance-price")
    for words in said:
        assert words in seen.text
    alts = " ".join(str(image["alt"]) for image in seen.all("img"))
    for words in (
        f"Server {NEW}: pool connect-server, on-demand capacity",
        "21.2 ms",
        "Ready True",
        "Reconciling absent",
    ):
        assert words in alts


def test_a_page_of_nothing_says_so() -> None:
    record = empty()
    record.unseen[NODES] = "GET /api/v1/nodes: forbidden"
    seen = checked(page(record, "Nothing"))
    assert "GET /api/v1/nodes: forbidden" in seen.text
    assert "No node says its price." in seen.text


def test_names_are_text_whatever_they_are() -> None:
    record, bad = story(), '<script>alert("&")</script>$x_1$'
    record.see(NODES, "ADDED", node(bad, bad), 40)
    record.see(PODS, "ADDED", pod(bad, bad, server=True), 41)
    record.see(PROFILES, "MODIFIED", profile({"Ready": ("False", bad)}, item(SERVER, bad, bad)), 42)
    seen = checked(page(record, bad, bad, [Table(bad, (bad,), [(bad,)], bad)]))
    assert seen.text.count(bad) > 8


@pytest.mark.debian
async def test_a_browser_shows_it(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(story(), "The demo"))
    async with browser(tmp_path / "home") as tab:
        await tab.open(file.as_uri())
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 27, 34)")):
            await tab.prefer(scheme)
            same = f"[...document.images].every(i => (i.currentSrc === i.src) === {str(scheme == 'light').lower()})"
            await eventually(partial(tab.evaluate, same))
            shown = await tab.evaluate("[...document.images].map(i => [i.naturalWidth > 600, i.alt.length > 30])")
            assert shown == [[True, True]] * len(CHARTS)
            assert await tab.evaluate("getComputedStyle(document.body).backgroundColor") == paper
        assert tab.asked() <= {"file", "data"}
        assert tab.complaints() == []
