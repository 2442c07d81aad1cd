"""What the operator has to remember about a release: kept in one Secret beside it, since prior values may be secret."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final, Self

from pydantic import TypeAdapter

from connect_autoscaler.api.conditions import Reason
from connect_autoscaler.api.names import ANNOTATION_PROFILE_UID, FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_PROFILE
from connect_autoscaler.release.merge import Prior
from connect_autoscaler.release.values import Json

_KEY: Final = "state"
_SALT: Final = 16


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that works on a release; whether it still lives decides whether its lock may be undone."""

    host: str
    pod: str | None
    """Uid of the pod, None outside of a cluster."""
    process: int
    born: str
    """Random, so that a process number that comes again is told from the first one."""


@dataclass(frozen=True, slots=True)
class Record:
    """An upgrade that was begun: enough to judge it from the release's Secrets by anybody who comes later."""

    id: str
    overlay: Json = field(repr=False)
    prior: Prior = field(repr=False)
    base: int
    """Revision it was made on."""
    config: str
    """Salted digest of the values sent."""
    holder: Holder
    started: str
    cause: str
    """What it was for; a failed one is not tried again for the same cause."""
    corrects: str | None = None
    """Whose change it undoes; None: it follows a change of the profile."""
    reason: Reason | None = None
    """Why it failed; None: it is under way or succeeded."""
    message: str = ""
    finished: bool = False
    timeout: str = ""
    """Helm's own, a Go duration; empty: not known."""
    interrupted: int = 0
    """How many before it, for the same cause, were interrupted one after the other."""

    def interruptions(self, cause: str) -> int:
        """How many upgrades for a cause were interrupted one after the other, this one included."""
        return self.interrupted + 1 if self.reason is Reason.CANCELLED and self.cause == cause else 0


@dataclass(frozen=True)
class State:
    """All that is remembered of one profile's release."""

    salt: str
    applied: Json = field(default_factory=dict, repr=False)
    """The overlay last applied; empty: none."""
    prior: Prior = field(default_factory=dict, repr=False)
    record: Record | None = None
    corrections: tuple[tuple[str, str], ...] = ()
    """Time and opponent of each correction, the last ones."""
    reruns: tuple[tuple[str, str], ...] = ()
    """Key and time of each content job that was run again, the last ones."""

    @classmethod
    def new(cls) -> Self:
        """Nothing to remember yet."""
        return cls(secrets.token_hex(_SALT))

    @classmethod
    def of(cls, secret: Mapping[str, Any]) -> Self | None:
        """Read the Secret; None if it is not one of ours, or not readable."""
        try:
            raw = json.loads(base64.b64decode(secret["data"][_KEY]))
            raw["salt"].encode("ascii")
            record = raw.get("record")
            found = cls(
                salt=raw["salt"],
                applied=raw["applied"],
                prior=raw["prior"],
                record=_record(record) if record else None,
                corrections=tuple((time, by) for time, by in raw["corrections"]),
                reruns=tuple((key, time) for key, time in raw.get("reruns", ())),
            )
            _check(found)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            return None
        return found

    def secret(self, name: str, namespace: str, profile: str, uid: str) -> Json:
        """Write the Secret, without an ownerReference: a foreground deletion would collect it before it is needed."""
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {LABEL_MANAGED_BY: FIELD_MANAGER, LABEL_PROFILE: profile},
                "annotations": {ANNOTATION_PROFILE_UID: uid},
            },
            "type": "Opaque",
            "data": {_KEY: base64.b64encode(json.dumps(asdict(self), sort_keys=True).encode()).decode()},
        }

    def digest(self, config: Mapping[str, Any]) -> str:
        """Name a values document. Salted: a plain digest of a short secret could be guessed."""
        text = json.dumps(_plain(config), sort_keys=True, separators=(",", ":"))
        return hmac.new(self.salt.encode(), text.encode(), hashlib.sha256).hexdigest()

    def cause(self, config: str, *parts: Any) -> str:
        """Name what an upgrade is for: the values it starts from, and what is wanted. It is not tried twice for one."""
        return hmac.new(
            self.salt.encode(), json.dumps([config, *parts], sort_keys=True).encode(), hashlib.sha256
        ).hexdigest()

    def rerun(self, key: str, now: datetime) -> "State":
        """Remember a content job as run again."""
        return replace(self, reruns=(*self.reruns, (key, now.isoformat()))[-_RERUNS:])

    def begin(self, record: Record) -> "State":
        """Remember an upgrade before it starts."""
        return replace(self, record=record)

    def succeeded(self, now: datetime) -> "State":
        """The upgrade on record is deployed: its overlay is the one applied."""
        record = self.record
        if record is None:
            return self
        done = (*self.corrections, (now.isoformat(), record.corrects)) if record.corrects else self.corrections
        return replace(
            self,
            applied=record.overlay,
            prior=record.prior,
            record=replace(record, finished=True, reason=None, message=""),
            corrections=done[-_REMEMBERED:],
        )

    def found(self, overlay: Json, prior: Prior) -> "State":
        """The release carries the overlay already: from now on what differs is drift."""
        return replace(self, applied=overlay, prior=prior)

    def failed(self, reason: Reason, message: str) -> "State":
        """The upgrade on record is not deployed."""
        record = self.record
        return (
            self
            if record is None
            else replace(self, record=replace(record, finished=True, reason=reason, message=message))
        )


_REMEMBERED: Final = 20
_RERUNS: Final = 1000
"""More than an hour can have, and more than Connect keeps orphans for."""
_REASONS: Final = {each.value: each for each in Reason}


def _check(state: State) -> None:
    """Refuse what the operator has not written: somebody with a right to edit Secrets may have.

    Raises:
        ValueError: Something has another type.
        RecursionError: It is too deep to be walked through.
    """
    _FORM.validate_python(asdict(state))
    for before in (*state.prior.values(), *(state.record.prior.values() if state.record else ())):
        if not ("value" in before if before.get("had") else isinstance(before.get("depth"), int)):
            raise ValueError


_FORM: Final = TypeAdapter(State)


def _record(raw: Mapping[str, Any]) -> Record:
    known = {each.name for each in fields(Record)}
    values = {name: value for name, value in raw.items() if name in known}
    reason = values.get("reason")
    holder = {name: raw["holder"].get(name) for name in (each.name for each in fields(Holder))}
    return Record(**{**values, "holder": Holder(**holder), "reason": _REASONS.get(reason or "")})


def _plain(value: Any) -> Any:
    """Numbers as Helm gives them back: it makes every integer a float."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
