"""JSON pointers (RFC 6901), as spec and status name fields; elements of keyed lists follow in brackets."""

from collections.abc import Iterable


def pointer(parts: Iterable[str]) -> str:
    """Write the way to a field as a pointer."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def parts(where: str) -> tuple[str, ...]:
    """Read it again; brackets are taken for letters."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in where.split("/")[1:])


def covers(prefix: str, where: str) -> bool:
    """Whether a pointer names another one, or something above it; ``/`` names everything."""
    return where == prefix or where.startswith((prefix.rstrip("/") + "/", prefix + "["))
