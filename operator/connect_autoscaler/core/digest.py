"""Digests of JSON documents."""

import hashlib
import json
from typing import Any


def digest(document: Any) -> str:
    """Name a JSON document by its content; equal documents have equal digests."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
