"""The command line as users call it, in this process and against a real API server."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from connect_autoscaler.__main__ import main
from sandbox import Cluster


@dataclass(frozen=True)
class Called:
    """What came of a call.

    Attributes:
        code: Exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """Calls verbs with the kubeconfig of a cluster.

    Args:
        cluster: Where.
        kubeconfig: Instead of the administrator's.
    """

    def __init__(self, cluster: Cluster, kubeconfig: Path | None = None) -> None:
        self.cluster = cluster
        self._env = {"KUBECONFIG": str(kubeconfig or cluster.kubeconfig), "NO_COLOR": "1"}

    async def __call__(
        self,
        *arguments: str | Path,
        input: str | None = None,  # noqa: A002 - click's name
        env: Mapping[str, str] | None = None,
    ) -> Called:
        """Call a verb; nothing but an exit may come of it, and no traceback."""
        runner = CliRunner(env={**self._env, **(env or {})})
        done = await asyncio.to_thread(runner.invoke, main, [str(each) for each in arguments], input=input)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert "Traceback" not in done.output
        return Called(done.exit_code, done.stdout, done.stderr)
