"""How the pictures look: two themes, colours that the colour-blind tell apart, and fonts that come with matplotlib."""

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

WIDTH: Final = 9.6
"""Inches of every picture."""
_SALT: Final = "connect-autoscaler"  # the same record gives the same bytes


@dataclass(frozen=True)
class Theme:
    """Colours.

    Attributes:
        name: Of `prefers-color-scheme`.
        paper: Behind everything.
        ink: Text.
        quiet: Axes, grid and remarks.
        pools: In the order of `Record.pool_names`; more pools begin anew.
        good: Of what is as it should be.
        bad: Of what is not.
        busy: Of what is not decided.
        on_fill: Text on a filled area.
    """

    name: str
    paper: str
    ink: str
    quiet: str
    pools: tuple[str, ...]
    good: str
    bad: str
    busy: str
    on_fill: str

    def colours(self) -> tuple[str, ...]:
        """Return all of them, always in the same order; none occurs twice."""
        return (self.paper, self.ink, self.quiet, *self.pools, self.good, self.bad, self.busy, self.on_fill)


# After Okabe and Ito; each pair also differs in lightness. The dark theme's are lighter, for the same contrast.
LIGHT: Final = Theme(
    "light", "#ffffff", "#1c2330", "#667080", ("#4f9fd6", "#f0b429", "#9aa3ad", "#d58fb5"),
    "#63b99a", "#e8834f", "#f2d36b", "#10151d",
)  # fmt: skip
DARK: Final = Theme(
    "dark", "#161b22", "#e6eaf0", "#98a2b0", ("#5aaee6", "#f2bd45", "#98a2ae", "#dc9fc1"),
    "#5fbf9d", "#ee8f5e", "#f0d275", "#0b0f14",
)  # fmt: skip
THEMES: Final = (LIGHT, DARK)

SPOT: Final = "//"
"""Hatch of spot capacity: it can be taken away."""
BAD: Final = "xx"
"""Hatch of what is not as it should be, for those who do not see the colour."""


def drawn(draw: Callable[[Theme], Figure], theme: Theme, form: str = "svg") -> bytes:
    """Draw a picture in a theme; return the file."""
    settings: dict[Any, Any] = {
        "font.size": 10,
        "font.family": "DejaVu Sans",
        "svg.hashsalt": _SALT,
        "hatch.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), theme.paper),
        **dict.fromkeys(("text.color", "axes.titlecolor", "legend.labelcolor"), theme.ink),
        **dict.fromkeys(("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), theme.ink),
        **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), theme.quiet),
    }
    file = io.BytesIO()
    with mpl.rc_context(settings):
        draw(theme).savefig(file, format=form, dpi=110, metadata={"Date": None} if form == "svg" else None)
    return file.getvalue()


def recoloured(svg: bytes, theme: Theme, to: Theme) -> bytes:
    """Return a picture in another theme than it was drawn in: that costs nothing, drawing does."""
    new = dict(zip(theme.colours(), to.colours(), strict=True))
    return re.sub(r"#[0-9a-f]{6}\b", lambda found: new.get(found[0], found[0]), svg.decode()).encode()


def data_uri(svg: bytes) -> str:
    """Return a picture as an address that holds it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def figure(height: float) -> Figure:
    """Return an empty picture of that many inches."""
    it = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(it)  # texts can be measured before they are drawn
    return it


@dataclass(frozen=True)
class Clock:
    """A time axis in a unit that suits its length.

    Attributes:
        seconds: Of one unit.
        unit: Its name.
    """

    seconds: float
    unit: str

    @classmethod
    def of(cls, length: float) -> "Clock":
        """Choose the unit for so many seconds."""
        return next(
            cls(seconds, unit)
            for seconds, unit, enough in ((1, "seconds", 300), (60, "minutes", 3 * 3600), (3600, "hours", float("inf")))
            if length <= enough
        )

    def __call__(self, at: float) -> float:
        return at / self.seconds

    def axis(self, axes: Axes, length: float, began: str) -> None:
        """Make the x axis one of time."""
        axes.set_xlim(0, self(length) or 1)
        axes.set_xlabel(f"{self.unit} since {began}")
        axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))


def marks(axes: Axes, times: Sequence[float], theme: Theme) -> None:
    """Mark moments by thin lines with numbers on top; neighbours that would touch share a text."""
    low, high = axes.get_xlim()
    groups: list[list[int]] = []
    for number, at in enumerate(times):
        axes.axvline(at, color=theme.ink, linewidth=0.8, linestyle=(0, (2, 2)), zorder=3)
        if groups and at - times[groups[-1][0]] < (high - low) * 0.02:
            groups[-1].append(number)
        else:
            groups.append([number])
    for group in groups:
        text = str(group[0] + 1) if len(group) == 1 else f"{group[0] + 1}-{group[-1] + 1}"
        middle = (times[group[0]] + times[group[-1]]) / 2
        axes.text(
            middle,
            1.01,
            text,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8,
            color=theme.ink,
        )


def words(axes: Axes, row: float, ends: tuple[float, float], texts: Sequence[str], colour: str, theme: Theme) -> None:
    """Write the first of these texts that fits into a bar, if one does.

    Args:
        axes: Laid out already.
        row: Of the bar.
        ends: Of the bar, in data coordinates.
        texts: The best first.
        colour: Of the bar.
        theme: Whose text it is.
    """
    left, right = (axes.transData.transform((end, 0))[0] for end in ends)
    box = {"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none"}
    for each in texts:
        text = axes.text(
            sum(ends) / 2, row, each, ha="center", va="center", fontsize=8.5, color=theme.on_fill, bbox=box, zorder=4
        )
        if text.get_window_extent().width < right - left - 8:
            return
        text.remove()
