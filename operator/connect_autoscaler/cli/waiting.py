"""Waiting for the operator, with its own words for progress."""

import time
from collections.abc import Callable
from typing import Final

import click

from connect_autoscaler.cli.cluster import PROFILES, Cluster, Json
from connect_autoscaler.cli.errors import Refusal
from connect_autoscaler.cli.verb import condition, progress, ready

_POLL: Final = 0.5


def until(
    cluster: Cluster, name: str, done: Callable[[Json | None], bool], what: str, seconds: float, advice: str
) -> Json | None:
    """Wait until a profile is as it has to be.

    Args:
        cluster: Where.
        name: The profile.
        done: Whether it is; is given None if there is no such profile any more.
        what: What is awaited, for people.
        seconds: How long.
        advice: What to do if it does not come to pass.

    Raises:
        Refusal: It did not come to pass in time.
    """
    deadline = time.monotonic() + seconds
    with progress(what) as say:
        while not done(body := cluster.find(PROFILES, name)):
            if time.monotonic() > deadline:
                last = f" (Ready is {': '.join(ready(body))})" if body else ""
                raise Refusal(f"{what}: not within {seconds:g} s{last}; {advice}")
            say(f"{what}: {_doing(body)}" if body else what)
            time.sleep(_POLL)
        return body


def until_ready(
    cluster: Cluster, name: str, done: Callable[[Json | None], bool], what: str, seconds: float, advice: str, gone: str
) -> None:
    """Wait as `until` does, and say that the profile is Ready then.

    Args:
        cluster: Where.
        name: The profile.
        done: Whether the waiting is over.
        what: What is awaited, for people.
        seconds: How long.
        advice: What to do if it does not come to pass.
        gone: What Ready is taken for if there is no such profile any more.

    Raises:
        Refusal: It did not come to pass in time, or the profile is not Ready.
    """
    body = until(cluster, name, done, what, seconds, advice)
    status, message = ready(body) if body else (gone, "the profile is gone")
    if status != "True":
        raise Refusal(f"{name} is not Ready: {message}")
    click.echo(f"{name}: Ready: {message}")


def settled(body: Json | None) -> bool:
    """Whether the operator has finished with the present spec, for good or ill."""
    if body is None:
        return True
    status = body.get("status") or {}
    seen = status.get("observedGeneration") == body["metadata"]["generation"]
    working = any(each["type"] == "Reconciling" and each["status"] == "True" for each in status.get("conditions", ()))
    return seen and not working and "attempt" not in status


def _doing(body: Json) -> str:
    status = body.get("status") or {}
    if attempt := status.get("attempt"):
        return f"{attempt.get('phase', 'working')} since {attempt.get('startedAt', 'just now')}"
    going = "deletionTimestamp" in body["metadata"]  # which makes a generation of its own
    return str(condition(body, "Ready").get("message", "")) if going else ready(body)[1]
