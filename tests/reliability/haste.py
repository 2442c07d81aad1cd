"""The operator in haste: its waits are shortened a hundredfold, so that an outage of ten minutes takes six seconds.

Only this process' copy of the product's constants is changed, and only while `in_haste` lasts; what is waited for, and
in which order, stays as it is. Limits on answers come down less: a busy machine is not an outage. Operators that run
as processes of their own keep the product's own times.
"""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import aiohttp
import kopf

from connect_autoscaler import handlers, runner
from connect_autoscaler.api.spec import ProfileSpec
from connect_autoscaler.core import act, endings, kube, lookups, release_plan, release_work, watch, worker

FACTOR: Final = 100
_SELDOM: Final = 20
"""The same for `interval`: looks amid every workload would be part of what it asks for, or not, by chance."""
ANSWER: Final = 3.0
"""Seconds that the operator in haste waits for an answer; 30 otherwise."""
SILENT: Final = 5.0
"""Seconds after which it gives up a silent watch; 70 otherwise."""
HOLD: Final = 0.25
"""Seconds for which it holds back a status that may change again; 2 otherwise."""
_KOPF: Final = handlers.settings


class _Impatience:
    def __iter__(self) -> Iterator[float]:
        return (seconds / FACTOR for seconds in handlers.Patience())


def _settings() -> kopf.OperatorSettings:
    made = _KOPF()
    made.networking.error_backoffs = _Impatience()
    made.networking.request_timeout = ANSWER
    made.watching.inactivity_timeout = SILENT
    delays = made.queueing.error_delays
    assert not isinstance(delays, (int, float))
    made.queueing.error_delays = [each / FACTOR for each in delays]
    return made


def _hasty() -> Iterator[tuple[Any, str, Any]]:
    yield worker, "_BACKOFF", tuple(each / FACTOR for each in worker._BACKOFF)
    yield worker, "_LATER", worker._LATER / FACTOR
    yield worker, "_USER", worker._USER / FACTOR
    yield worker, "_HOLD", timedelta(seconds=HOLD)
    yield act, "_REFUSED_FOR", act._REFUSED_FOR / FACTOR
    yield lookups, "KEEP_MISSING", lookups.KEEP_MISSING / FACTOR
    yield watch, "_BACKOFF", tuple(each / FACTOR for each in watch._BACKOFF)
    yield watch, "_SHORT", watch._SHORT / FACTOR
    yield watch, "_ROUND", watch._ROUND // _SELDOM
    for bound in (kube.Kube.__init__, vars(kube.Kube)["connect"].__func__):
        yield bound, "__kwdefaults__", {"patience": ANSWER}
    yield kube, "_WATCHING", aiohttp.ClientTimeout(total=None, sock_connect=ANSWER, sock_read=SILENT)
    yield kube, "_PATIENCE", ANSWER
    yield runner, "_POLL", runner._POLL / FACTOR
    yield release_plan, "_BREATH", release_plan._BREATH / FACTOR
    for name in ("_MOMENT", "_SOON", "_LATER"):
        yield release_work, name, getattr(release_work, name) / FACTOR
    yield endings, "RESTS", tuple(each / FACTOR for each in endings.RESTS)
    yield handlers, "settings", _settings
    resync = vars(ProfileSpec)["resync"].fget
    yield ProfileSpec, "resync", property(lambda spec: resync(spec) / _SELDOM)


@contextlib.contextmanager
def in_haste() -> Iterator[None]:
    """Have operators of this process hurry while the context lasts."""
    with replaced(*_hasty()):
        yield


@contextlib.contextmanager
def replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Have attributes be something else while the context lasts: the owner, the name and the value of each."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
