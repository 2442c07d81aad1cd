"""One file of HTML with everything in it: nothing is loaded from anywhere, and no script runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from recorder import charts
from recorder.record import Condition, Node, Pod, Record, Span
from recorder.style import DARK, LIGHT, data_uri, drawn, recoloured

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2330; --quiet: #5b6472; --line: #d9dee5; --link: #0b5cad }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161b22; --ink: #e6eaf0; --quiet: #a3adba; --line: #343c47; --link: #79b8ff }
}
* { box-sizing: border-box }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 70rem; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem }
figure { margin: 0 } img { display: block; height: auto; width: 100% }
figcaption, .quiet { color: var(--quiet); font-size: .9rem; max-width: 50rem }
.table { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0; width: 100% }
th, td { border-bottom: 1px solid var(--line); overflow-wrap: anywhere; padding: .3rem .8rem .3rem 0; text-align: left;
  min-width: 4.5rem; vertical-align: top }
:is(th, td):first-child { min-width: 1.5rem }
td.number, th.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap }
summary { color: var(--link); cursor: pointer; font-size: .9rem; margin-top: .5rem }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
@media print { details { display: none } }
"""
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        title: Above it.
        heads: Of the columns; those that end with a unit in brackets, such as `price (USD/h)`, hold numbers.
        rows: Cells.
        note: Below it.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def html(self) -> str:
        """Return it as HTML, without the title."""
        kinds = [" class=number" if head.endswith(")") else "" for head in self.heads]
        heads = "".join(
            f"<th scope=col{kind}>{escape(head)}</th>" for head, kind in zip(self.heads, kinds, strict=True)
        )
        body = "".join(
            "<tr>"
            + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
            + "</tr>\n"
            for row in self.rows
        )
        note = f"<p class=quiet>{escape(self.note)}</p>" if self.note else ""
        return (
            f'<div class=table><table aria-label="{escape(self.title)}"><thead><tr>{heads}</tr></thead>\n'
            f"<tbody>{body}</tbody></table></div>{note}"
        )


def page(record: Record, title: str, intro: str = "", tables: Iterable[Table] = ()) -> str:
    """Return the page.

    Args:
        record: What it shows.
        title: Of the page.
        intro: A paragraph below it.
        tables: Shown first.
    """
    sections = [f"<h2>{escape(table.title)}</h2>\n{table.html()}" for table in tables]
    sections += [
        _figure("Nodes by pool, and their price", charts.nodes(record), *_nodes(record)),
        _figure("Where the server and content ran", charts.places(record), *_pods(record)),
        _figure("What was bent, and for how long", charts.corrections(record), *_corrections(record)),
        _figure("Conditions over time", charts.conditions(record), *_conditions(record)),
    ]
    watched = record.watched
    about = (
        f"Profile {watched.profile}, release {watched.namespace}/{watched.release}: {record.length:.0f} seconds from "
        f"{record.began:%Y-%m-%d %H:%M:%S} UTC, as watches of the cluster's API showed them."
    )
    unseen = "".join(f"<p><strong>Not seen</strong>: {escape(why)}</p>" for why in record.unseen.values())
    return f"""<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<meta http-equiv=Content-Security-Policy content="{_POLICY}">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p>{escape(intro)}</p>
<p class=quiet>{escape(about)}</p>
{unseen}
{"".join(f"<section>{each}</section>" for each in sections)}
</main>
</body>
</html>
"""


def _figure(title: str, draw: charts.Draw, alt: str, caption: str, table: Table) -> str:
    picture = drawn(draw, LIGHT)
    light, dark = data_uri(picture), data_uri(recoloured(picture, LIGHT, DARK))
    return f"""<h2>{escape(title)}</h2>
<figure>
<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}"><img src="{light}" alt="{escape(alt)}"></picture>
<figcaption>{escape(caption)}</figcaption>
</figure>
<details><summary>{escape(table.title)}</summary>
{table.html()}
</details>"""


def _nodes(record: Record) -> tuple[str, str, Table]:
    nodes = record.nodes()
    heads = ("node", "pool", "capacity type", "instance type", "price (USD/h)", "from (s)", "to (s)")
    rows = [(n.name, n.pool, n.capacity, n.type, _price(n), *_ends(n)) for n in nodes]
    most = {pool: sum(n.pool == pool for n in nodes) for pool in record.pool_names}
    alt = "Nodes over time. " + " ".join(f"Pool {pool}: {count} in all." for pool, count in most.items())
    caption = "Prices are those that nodes carry in eks-node-viewer/instance-price; a node without counts as 0."
    known = any(node.price is not None for node in nodes)
    return alt, caption if known else "No node says its price.", Table("Nodes as a table", heads, rows)


def _pods(record: Record) -> tuple[str, str, Table]:
    nodes = {node.name: node for node in record.nodes()}
    heads = ("pod", "what", "pool", "capacity type", "node", "last phase", "from (s)", "to (s)")
    rows = []
    for pod in (*record.pods(server=True), *record.pods(server=False)):
        node = nodes.get(pod.node, Node(0))
        what = "server" if pod.server else "content"
        rows.append((pod.name, what, node.pool, node.capacity, pod.node, pod.phase, *_ends(pod)))
    alt = "Where pods ran. " + " ".join(_told(pod, nodes, record) for pod in record.pods(server=True))
    content = len(record.pods(server=False))
    caption = f"From when a pod was given its node until it was over or gone. Pods of content: {content}"
    caption += f", the first {charts.MOST} are drawn." if content > charts.MOST else "."
    return alt, caption, Table("Pods as a table", heads, rows)


def _told(pod: Pod, nodes: dict[str, Node], record: Record) -> str:
    node = nodes.get(pod.node, Node(0))
    where = f"pool {node.pool or 'unknown'}, {node.capacity or 'unknown'} capacity"
    return f"Server {pod.name}: {where}, second {pod.start:.0f} to {pod.until(record.length):.0f}."


def _corrections(record: Record) -> tuple[str, str, Table]:
    heads = ("", "NodePool", "field", "who", "was", "is again", "at (s)", "wrong for (ms)")
    rows = []
    for number, each in enumerate(record.corrections(), 1):
        items = each.items or ({},)
        path = "\n".join(str(item.get("path", "not in status")) for item in items)
        was, wanted = ("\n".join(str(item.get(k, "absent")) for item in items) for k in ("actual", "expected"))
        ends = f"{each.start:.1f}", f"{each.milliseconds:.1f}"
        rows.append((str(number), each.pool, path, charts.managers(each), was, wanted, *ends))
    told = [f"{row[0]}: {row[1]}, {row[2]}, {row[7]} ms." for row in rows]
    alt = "How long each NodePool was wrong. " + (" ".join(told) or "None was.")
    caption = (
        "The numbers are those at the dotted lines of the other pictures. Counted from the event that showed it wrong "
        "to the one that showed it right; who and what is what the profile's status says."
    )
    return alt, caption, Table("Corrections as a table", heads, rows)


def _conditions(record: Record) -> tuple[str, str, Table]:
    heads = ("condition", "status", "reason", "message", "from (s)", "to (s)")
    spans = [span for each in record.conditions().values() for span in each]
    rows = [(s.type, s.status, s.reason, s.message, *_ends(s)) for s in spans]
    last = [each[-1] for each in record.conditions().values() if each]
    alt = "Conditions over time. At the end: " + (" ".join(map(_at_the_end, last)) or "none.")
    caption = "Empty is absent: conditions that tell of trouble exist only while there is some."
    return alt, caption, Table("Conditions as a table", heads, rows)


def _at_the_end(last: Condition) -> str:
    return f"{last.type} {last.status if last.end is None else 'absent'}."


def _price(node: Node) -> str:
    return "" if node.price is None else f"{node.price:.4f}"


def _ends(span: Span) -> tuple[str, str]:
    return f"{span.start:.1f}", "" if span.end is None else f"{span.end:.1f}"
