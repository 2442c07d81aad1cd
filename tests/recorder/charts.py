"""The pictures: nodes and their price, where pods ran, what was put right, conditions."""

from collections.abc import Callable, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from recorder.record import Condition, Correction, Node, Pod, Record
from recorder.style import BAD, SPOT, Clock, Theme, figure, marks, words

Draw = Callable[[Theme], Figure]

_ROW: Final = 0.36
"""Inches of a row of bars."""
MOST: Final = 16
"""Content pods that are drawn; the table has all."""
_THIN: Final = 0.0025
"""Of the axis: no bar is drawn narrower, or nobody would see it."""
_ABNORMAL: Final = frozenset({"Drifted", "Reconciling", "Stalled", "Suspended", "Fighting"})
"""Conditions that are good when False or absent."""
_ORDER: Final = ("Ready", "NodePoolsReady", "ReleaseConfigured", "PlacementVerified", "Drifted", "Reconciling")


def nodes(record: Record) -> Draw:
    """How many nodes each pool had, and what they cost."""

    def draw(theme: Theme) -> Figure:
        lives, clock = record.nodes(), Clock.of(record.length)
        times = sorted({0.0, record.length, *(t for n in lives for t in (n.start, n.until(record.length)))})
        priced = any(node.price is not None for node in lives)
        it = figure(4.6 if priced else 2.8)
        counting, *paying = it.subplots(1 + priced, 1, sharex=True, squeeze=False)[:, 0]
        _stack(counting, record, times, theme, lambda _: 1)
        counting.set_title("Nodes", pad=14)
        counting.set_ylabel("nodes")
        counting.yaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in paying:
            _stack(axes, record, times, theme, lambda node: node.price or 0)
            axes.set_title("Price of these nodes")
            axes.set_ylabel("US dollars per hour")
        axes = (counting, *paying)[-1]
        clock.axis(axes, record.length, _began(record))
        marks(counting, [clock(each.start) for each in record.corrections()], theme)
        handles = [Patch(color=_colour(record, pool, theme), label=pool) for pool in _present(record)]
        it.legend(handles=handles, loc="outside upper right", ncols=4)
        return it

    return draw


def places(record: Record) -> Draw:
    """Where the server's pods ran, and content."""

    def draw(theme: Theme) -> Figure:
        servers, content = record.pods(server=True), record.pods(server=False)[:MOST]
        pods = [*servers, *content]
        clock, by_name = Clock.of(record.length), {node.name: node for node in record.nodes()}
        it = figure(1.5 + _ROW * max(len(pods), 1))
        axes = it.subplots()
        clock.axis(axes, record.length, _began(record))
        axes.set_ylim(len(pods) - 0.4, -0.6)
        axes.set_yticks(range(len(pods)), [_pod_name(pod) for pod in pods])
        axes.tick_params(axis="y", length=0)
        handles = [Patch(color=_colour(record, pool, theme), label=pool) for pool in _present(record)]
        handles.append(Patch(facecolor=theme.paper, edgecolor=theme.ink, hatch=SPOT, label="spot capacity"))
        it.legend(handles=handles, loc="outside upper right", ncols=5)
        axes.set_title("Where pods ran")
        it.draw_without_rendering()  # constrained layout decides how wide a bar is
        for row, pod in enumerate(pods):
            node = by_name.get(pod.node)
            colour = _colour(record, node.pool if node else "", theme)
            hatch = SPOT if node and node.capacity == "spot" else ""
            ends = clock(pod.start), clock(pod.until(record.length))
            _bar(axes, row, ends, theme, colour, hatch, _facts(node) if node else [pod.node])
        if servers and content:
            axes.axhline(len(servers) - 0.5, color=theme.quiet, linewidth=0.6)
        return it

    return draw


def corrections(record: Record) -> Draw:
    """How long each bent NodePool stayed bent."""

    def draw(theme: Theme) -> Figure:
        found = record.corrections()
        it = figure(1.1 + 0.5 * max(len(found), 1))
        axes = it.subplots()
        axes.set_title("From wrong to right again, as a watch saw it")
        rows = range(len(found))
        lengths = [each.milliseconds for each in found]
        axes.barh(rows, lengths, height=0.5, color=theme.good)
        axes.set_yticks(rows, [_wrong(number, each) for number, each in enumerate(found, 1)])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(max(len(found), 1) - 0.5, -0.5)
        axes.set_xlim(0, max([1.0, *lengths]) * 1.18)
        axes.set_xlabel("milliseconds")
        for row, length in zip(rows, lengths, strict=True):
            text = milliseconds(length)
            axes.annotate(text, (length, row), (5, 0), textcoords="offset points", va="center", fontweight="bold")
        return it

    return draw


def conditions(record: Record) -> Draw:
    """What the profile's conditions said."""

    def draw(theme: Theme) -> Figure:
        spans = record.conditions()
        kinds = [*(kind for kind in _ORDER if kind in spans), *sorted(spans.keys() - {*_ORDER})]
        clock = Clock.of(record.length)
        it = figure(1.5 + _ROW * max(len(kinds), 1))
        axes = it.subplots()
        clock.axis(axes, record.length, _began(record))
        axes.set_ylim(len(kinds) - 0.4, -0.6)
        axes.set_yticks(range(len(kinds)), kinds)
        axes.tick_params(axis="y", length=0)
        axes.set_title("Conditions of the profile", pad=14)
        handles = [
            Patch(facecolor=theme.good, label="as it should be"),
            Patch(facecolor=theme.busy, label="not yet known"),
            Patch(facecolor=theme.bad, edgecolor=theme.on_fill, hatch=BAD, label="not as it should be"),
        ]
        it.legend(handles=handles, loc="outside upper right", ncols=3)
        it.draw_without_rendering()
        for row, kind in enumerate(kinds):
            for span in spans[kind]:
                good = verdict(span)
                colour = {True: theme.good, False: theme.bad, None: theme.busy}[good]
                ends = clock(span.start), clock(span.until(record.length))
                _bar(
                    axes,
                    row,
                    ends,
                    theme,
                    colour,
                    BAD if good is False else "",
                    [f"{span.status}: {span.reason}", span.status],
                )
        marks(axes, [clock(each.start) for each in record.corrections()], theme)
        return it

    return draw


def verdict(span: Condition) -> bool | None:
    """Tell whether a condition is as it should be; None: not decided."""
    if span.status == "Unknown" or span.type == "Reconciling":
        return None
    return (span.status == "True") != (span.type in _ABNORMAL)


def milliseconds(length: float) -> str:
    """Return a duration in words."""
    return f"{length:.1f} ms" if length >= 1 else "< 1 ms"


def paths(correction: Correction) -> str:
    """Return which fields were wrong, in short."""
    names = [str(item["path"]).partition("[")[0].rpartition("/")[2] or "deleted" for item in correction.items]
    return ", ".join(dict.fromkeys(names)) or "not in status"


def managers(correction: Correction) -> str:
    """Return who made them wrong."""
    names = dict.fromkeys(str(item.get("manager", "unknown")) for item in correction.items)
    return ", ".join(names) or "unknown"


def _wrong(number: int, correction: Correction) -> str:
    who = managers(correction)
    by = "who: unknown" if who == "unknown" else f"by {who}"
    return f"{number}  {correction.pool}: {paths(correction)}\n{by}"


def _stack(axes: Axes, record: Record, times: Sequence[float], theme: Theme, of: Callable[[Node], float]) -> None:
    clock, pools, lives = Clock.of(record.length), _present(record), record.nodes()
    rows = [
        [sum(of(n) for n in lives if n.pool == pool and n.start <= t < n.until(float("inf"))) for t in times]
        for pool in pools
    ]
    if not rows:
        axes.set_ylim(0, 1)
        return
    colours = [_colour(record, pool, theme) for pool in pools]
    axes.stackplot([clock(t) for t in times], rows, colors=colours, step="post", edgecolor=theme.paper, linewidth=0.8)
    axes.set_ylim(0, max(map(sum, zip(*rows, strict=True))) * 1.15 or 1)
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)


def _bar(
    axes: Axes, row: int, ends: tuple[float, float], theme: Theme, colour: str, hatch: str, texts: Sequence[str]
) -> None:
    low, high = axes.get_xlim()
    left, right = ends[0], max(ends[1], ends[0] + (high - low) * _THIN)
    axes.barh(
        row, right - left, left=left, height=0.72, color=colour, hatch=hatch, edgecolor=theme.paper, linewidth=0.8
    )
    words(axes, row, (left, right), texts, colour, theme)


def _facts(node: Node) -> list[str]:
    """Say where a pod runs, at length and in short."""
    price = f"{node.price:.3f} USD/h" if node.price is not None else ""
    whole = [fact for fact in (node.pool, node.capacity, node.type, price) if fact]
    return [" · ".join(whole[first:last]) for first, last in ((0, 4), (0, 3), (0, 2), (1, 2))]


def _pod_name(pod: Pod) -> str:
    last = pod.name.rpartition("-")
    return f"server …{last[2]}" if pod.server else f"{last[0] if len(last[0]) <= 34 else last[0][:33] + '…'}"


def _present(record: Record) -> list[str]:
    have = {node.pool for node in record.nodes()}
    return [pool for pool in record.pool_names if pool in have]


def _colour(record: Record, pool: str, theme: Theme) -> str:
    names = record.pool_names
    return theme.pools[names.index(pool) % len(theme.pools)] if pool in names else theme.quiet


def _began(record: Record) -> str:
    return f"{record.began:%H:%M:%S} UTC"
