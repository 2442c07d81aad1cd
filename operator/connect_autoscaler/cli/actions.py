"""How verbs show what would be done. Apart from `plan`, so that who shows a plan need not be able to make one."""

from typing import Final

from rich.text import Text

from connect_autoscaler.cli.cluster import Json
from connect_autoscaler.cli.verb import colour

_SHOWN: Final = 8
_WIDTH: Final = 16


def actions(planned: list[Json]) -> Text:
    """Lay out actions: what each costs, does, and waits for, and below it what changes."""
    made = Text()
    for row in planned:
        waits = f"  waits: {row['reason']}" if "reason" in row else ""
        made.append(f"{row['disruption']:<{_WIDTH}}", colour(row["disruption"]))
        made.append(f"{row['action']} {row['target']}{waits}\n")
        changes = [_change(each) for each in row.get("differences", ())] or row.get("fields", [])
        shown = changes[:_SHOWN] + ([f"and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else [])
        if nodes := row.get("nodeClaims"):
            shown.append(f"{nodes} nodes become outdated")
        made.append("".join(f"    {each}\n" for each in shown), "dim")
    made.rstrip()
    return made


def _change(difference: Json) -> str:
    return f"{difference['path']}: {difference.get('actual', 'nothing')} -> {difference.get('expected', 'nothing')}"
