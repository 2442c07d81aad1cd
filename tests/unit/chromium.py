"""A real browser: Debian's chromium without a window, spoken to by its DevTools protocol."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from sandbox import eventually

_OPTIONS: Final = (
    "--headless",
    "--no-sandbox",  # which root has to do without
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-port=0",
    "--window-size=1200,900",
)


def chromium() -> str:
    """Return the program; skips the test where it is missing."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is missing: apt-get install chromium")
    return found


@dataclass
class Tab:
    """A page in the browser.

    Attributes:
        events: What the browser told, such as `Network.requestWillBeSent`.
    """

    socket: aiohttp.ClientWebSocketResponse
    events: list[dict[str, Any]] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = json.loads(await self.socket.receive_str())
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self.events.append(message)

    async def open(self, address: str) -> None:
        """Load a page with everything that belongs to it."""
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=address)
        await eventually(lambda: self.evaluate("document.readyState === 'complete' && location.href !== 'about:blank'"))

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def prefer(self, scheme: str) -> None:
        """Have the user prefer `light` or `dark`."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.evaluate("Promise.all([...document.images].map(image => image.decode()))")

    async def picture(self) -> bytes:
        """Return what it looks like as a whole, as PNG."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def asked(self) -> set[str]:
        """Return the schemes of all addresses that were loaded."""
        sent = (each for each in self.events if each["method"] == "Network.requestWillBeSent")
        return {each["params"]["request"]["url"].partition(":")[0] for each in sent}

    def complaints(self) -> list[Any]:
        """Return what the browser had to object to."""
        return [
            each["params"] for each in self.events if each["method"] in {"Log.entryAdded", "Runtime.exceptionThrown"}
        ]


@asynccontextmanager
async def browser(home: Path) -> AsyncIterator[Tab]:
    """Run chromium with everything of its own below a directory, and give its tab."""
    process = await asyncio.create_subprocess_exec(
        chromium(), *_OPTIONS, f"--user-data-dir={home}", "about:blank",
        env={**os.environ, "HOME": str(home)},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port = await eventually(lambda: (home / "DevToolsActivePort").read_text().split()[0], timeout=60)
        async with aiohttp.ClientSession() as session:

            async def tab() -> str:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    pages = [each for each in await answer.json() if each["type"] == "page"]
                    return str(pages[0]["webSocketDebuggerUrl"])

            async with session.ws_connect(await eventually(tab), max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
