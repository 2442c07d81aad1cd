"""Whether whoever began an upgrade is gone for certain: one that lives keeps its lock, one that is dead never does."""

import asyncio
import os
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from kubernetes.aio import client

from connect_autoscaler.core.holders import gone
from connect_autoscaler.core.kube import Kube
from connect_autoscaler.core.release_tools import Toolbox
from connect_autoscaler.release.charts import Charts
from connect_autoscaler.release.helm import Helm, longest
from connect_autoscaler.release.state import Holder, Record
from unit.builders import NOW, Json, profile

HERE = Holder("here", None, os.getpid(), "this life")
OWNER = profile({"release": {"namespace": "posit", "name": "connect", "timeout": "1m"}})
DEAD = 2**22 + 1
"""More than Linux gives as a process number."""


def record(holder: Holder, *, timeout: str = "1m") -> Record:
    fields: Json = {"overlay": {}, "prior": {}, "base": 3, "config": "", "cause": ""}
    return Record(id="a1", holder=holder, started=NOW.isoformat(), timeout=timeout, **fields)


async def told(it: Record, tmp_path: Path, *, now: datetime = NOW, living: bool = False) -> bool:
    helm = Helm("helm", tmp_path)
    tools = Toolbox(helm=helm, charts=Charts(helm, sources=(), directory=None), holder=HERE)
    if living:
        tools.living.add(it.id)
    async with Kube(client.Configuration()) as kube:
        return await gone(kube, it, tools, now, OWNER)


async def test_this_process_knows_what_it_is_at(tmp_path: Path) -> None:
    mine = record(HERE)
    assert await told(mine, tmp_path)
    later = NOW + timedelta(days=1)
    assert not await told(mine, tmp_path, living=True, now=later), "helm of a worker that has ended may run on"


async def test_a_former_process_of_this_host(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "input()"]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    before = record(replace(HERE, born="another life", process=process.pid))
    assert not await told(before, tmp_path)
    process.kill()
    await process.wait()
    assert await told(before, tmp_path), "at once"


async def test_another_process_of_the_same_number_holds_nothing_for_ever(tmp_path: Path) -> None:
    before = record(replace(HERE, born="another life", process=os.getppid()))
    assert not await told(before, tmp_path)
    assert await told(before, tmp_path, now=NOW + timedelta(hours=1))


@pytest.mark.parametrize("begun_with", ["1m", "30m"])
async def test_what_cannot_be_looked_up_is_given_the_time_that_helm_has(tmp_path: Path, begun_with: str) -> None:
    """By the timeout that it was begun with, whatever the profile says now."""
    elsewhere = record(Holder("elsewhere", None, DEAD, "another life"), timeout=begun_with)
    helms = timedelta(seconds=longest(begun_with))
    assert helms > 2 * timedelta(minutes=int(begun_with[:-1])), "it may wait twice, and has to begin and end"
    assert not await told(elsewhere, tmp_path, now=NOW + helms)
    assert await told(elsewhere, tmp_path, now=NOW + helms + timedelta(minutes=3))
    old = replace(elsewhere, timeout="")
    assert await told(old, tmp_path, now=NOW + timedelta(minutes=9)), "on record without it: the profile's"
