"""The one exception of the sandbox: its text is meant for the person at the terminal."""


class SandboxError(Exception):
    """Something the reader can act on; shown without a traceback by ``python -m sandbox``."""


def tail(text: str, lines: int = 20) -> str:
    """Return the last lines of a log, indented, for the end of an error message."""
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return "\n".join(f"    {line[:400]}" for line in kept) or "    (it wrote nothing)"
