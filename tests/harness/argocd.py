"""Argo CD's view of a profile: runs its health script as Argo CD does, in Lua 5.1."""

from pathlib import Path
from typing import Any, Final

from lupa import lua51

SCRIPT: Final = Path(__file__).parents[2] / "deploy" / "argocd" / "health.lua"


def health(body: dict[str, Any]) -> tuple[str, str | None]:
    """Return status and message that the script gives for a live object."""
    lua = lua51.LuaRuntime(register_eval=False)
    lua.globals().obj = lua.table_from(body, recursive=True)
    result = lua.execute(SCRIPT.read_text())
    return str(result["status"]), result["message"]
