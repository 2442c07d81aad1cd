"""The floor: what the same job costs at least in Python. One watch, one apply, no status, no logic.

Run as `python -m benchmarks.floor KUBECONFIG`. It says `ready` when its watch is open, and begins with the NodePools as
soon as the name of a file with their manifests arrives on standard input.
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from benchmarks.api import Api
from benchmarks.world import NODE_POOLS, Json


class Floor:
    """Keeps NodePools as they were when they were applied first."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._wanted: dict[str, Json] = {}
        self._specs: dict[str, Json] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Watch until standard input closes."""
        self._start(self._read())
        found = await self._api.get(NODE_POOLS)
        print("ready", flush=True)
        async for event in self._api.watch(NODE_POOLS, found["metadata"]["resourceVersion"]):
            name = event["object"]["metadata"]["name"]
            known = self._specs.get(name)
            if known is not None and event["object"]["spec"] != known:
                self._start(self._apply(name))

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        async for line in lines:
            self._wanted = _manifests(Path(line.decode().strip()))
            for name in self._wanted:
                self._start(self._apply(name))

    async def _apply(self, name: str) -> None:
        self._specs[name] = (await self._api.apply(f"{NODE_POOLS}/{name}", self._wanted[name], "floor"))["spec"]

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _manifests(path: Path) -> dict[str, Json]:
    return {pool["metadata"]["name"]: pool for pool in json.loads(path.read_text())}


async def main(kubeconfig: Path) -> None:
    """Run it with as many connections as the operator has."""
    async with Api.connect(kubeconfig, agent="floor", connections=8) as api:
        await Floor(api).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
