"""A chain of operations on one profile: S0, D1, ... Dn, each judged, and at the end compared with a fresh Dn.

After each operation: what the API server refuses leaves everything as it was; what it accepts is found in the NodePools
and in the values for the release, unless the profile is told to write nothing. Now and then something is declared that
no schema can know to be bad, and taken back: everything must be again as it was.
"""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pykube.exceptions import HTTPError

from harness import NODE_CLASS, NODE_POOLS, PROFILES, Api, Json, Workspace, unique
from profile_specs import SMALLEST, Spec, merged, profile
from reliability.operations import WHOLE, Operation, localized, movable, pools, valid
from reliability.operations_oracles import managed, missing_in_values, picture, refusable, served, undeclared
from sandbox import Cluster, NotYetError, eventually

_LIMIT: Final = 60.0
_POLL: Final = 0.05
_REFUSED: Final = (400, 422)
_TROUBLE_EVERY: Final = 8
_KEYS: Final = ("workload", "example.com/Team_1.x-y", f"a/{'n' * 63}", "a")
_NAMESPACES: Final = ("posit", "a-1", "default")
_MARK: Final = "connect-autoscaler.io/profile"


@dataclass
class Judged:
    """What became of a chain.

    Attributes:
        name: Which one.
        accepted: Operations that the API server took.
        refused: Operations that it refused, as it had to.
        rolled_back: Troubles that were taken back.
        covered: Properties and the values that they were given, with the verdict that they deserve.
        violations: What must not be.
        seconds: How long it took.
    """

    name: str
    accepted: int = 0
    refused: int = 0
    rolled_back: int = 0
    covered: list[tuple[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Subject:
    """A profile under test."""

    api: Api
    own: str
    let_go: set[str] = field(default_factory=set)

    def read(self) -> Json:
        return self.api.get(PROFILES, self.own)

    @property
    def spec(self) -> Spec:
        return dict(self.read()["spec"])

    def declare(self, spec: Spec) -> tuple[int, str]:
        """Ask for a spec; return the API server's status and its words if it refuses."""
        try:
            self.api.json_patch(PROFILES, self.own, [{"op": "replace", "path": "/spec", "value": spec}])
        except HTTPError as error:
            return error.code, str(error)
        return 200, ""

    def pools(self, spec: Spec) -> dict[str, Json | None]:
        return {pool["name"]: self.api.find(NODE_POOLS, pool["name"]) for pool in managed(spec)}

    def picture(self) -> Json:
        body = self.read()
        return picture(body, self.pools(body["spec"]), self.own)

    def told(self) -> tuple[Json, Json]:
        """Return the profile and its NodePoolsReady, if status has caught up with the spec."""
        body = self.read()
        status, generation = body.get("status", {}), body["metadata"]["generation"]
        assert status.get("observedGeneration") == generation, (
            f"status is of generation {status.get('observedGeneration')}"
        )
        condition = next(dict(c) for c in status["conditions"] if c["type"] == "NodePoolsReady")
        assert condition["observedGeneration"] == generation, condition
        reasons = {c["reason"] for c in status["conditions"]}
        assert "InternalError" not in reasons, condition
        return body, condition

    async def settled(self) -> Json:
        """Wait until the spec is what the NodePools are, or rightly is not; return the profile."""

        def check() -> Json:
            body, condition = self.told()
            spec = body["spec"]
            if spec["mode"] == "Plan" or spec["suspend"]:
                return body
            if not served(spec):
                assert condition["reason"] == "NodeClassNotFound", condition
                return body
            if condition["reason"] in refusable(spec):
                return body
            external = len(managed(spec)) < len(pools(spec))
            assert condition["status"] == "True" or (external and condition["reason"] == "PoolMissing"), condition
            wrong = list(undeclared(spec, self.pools(spec)))
            assert not wrong, "; ".join(wrong)
            return body

        body = await eventually(check, timeout=_LIMIT, interval=_POLL)
        wrong = list(missing_in_values(body))
        assert not wrong, f"the values for the release: {wrong}"
        return body

    async def left(self, name: str, *, deleted: bool) -> None:
        """Wait until a pool that is declared no more is let go of, and remove it as its user would."""

        def free() -> bool:
            found = self.api.find(NODE_POOLS, name)
            if found is None:
                return True
            assert not deleted, f"NodePool {name} is still there"
            assert _MARK not in found["metadata"].get("labels", {}), f"NodePool {name} still carries the mark"
            return True

        await eventually(free, timeout=_LIMIT, interval=_POLL)
        self.api.delete(NODE_POOLS, name)
        await eventually(lambda: self.api.find(NODE_POOLS, name) is None, timeout=_LIMIT, interval=_POLL)


class Chain:
    """One chain on a cluster; `run` judges it."""

    def __init__(self, cluster: Cluster, number: int, operations: list[Operation]) -> None:
        self._cluster, self._number, self._operations = cluster, number, operations
        self.judged = Judged(f"chain {number}")

    async def run(self) -> Judged:
        """Carry it out; what goes wrong is in the result, and ends the chain."""
        began = time.monotonic()
        step = "create"
        try:
            async with self._profile(unique("op")) as subject:
                self._cover_creation(subject.spec)
                for number, operation in enumerate(self._operations):
                    step = str(operation)
                    await self._step(subject, operation)
                    if number % _TROUBLE_EVERY == self._number % _TROUBLE_EVERY:
                        for name, trouble in self._trouble(subject):
                            step = f"{name}, after {operation}"
                            await self._rolled_back(subject, trouble)
                step = "compare with a fresh profile"
                await self._compare(subject)
        except (AssertionError, HTTPError) as error:
            self.judged.violations.append(f"{step}: {type(error).__name__}: {error}"[:2000])
        self.judged.seconds = round(time.monotonic() - began, 2)
        return self.judged

    @contextlib.asynccontextmanager
    async def _profile(self, own: str, spec: Spec | None = None) -> AsyncIterator[Subject]:
        async with Workspace(self._cluster) as workspace:
            workspace.create(PROFILES, profile(spec or self._first(own), own))
            subject = Subject(workspace.api, own)
            await subject.settled()
            yield subject

    def _first(self, own: str) -> Spec:
        """Return S0: small or full, with one of the values for everything that cannot be changed later."""
        number = self._number
        spec = merged(
            WHOLE if number % 2 else SMALLEST,
            {
                "placement": {
                    "labelKey": _KEYS[number % len(_KEYS)],
                    "server": ("server", "A.b_c-1", "1")[number % 3],
                    "content": ("content", "0", "B-2")[number % 3],
                },
                "serverPool": {"name": ("server", "a.b-c.9", "0")[number % 3]},
                "contentPool": {"name": ("content", "b-c.d", "1")[number % 3]},
                "nodeClassRef": {**NODE_CLASS},
            },
        )
        if number % 2:
            spec["release"]["namespace"] = _NAMESPACES[number % 3]
        if number % 7 == 5:
            spec["contentPool"]["management"] = "External"
        return localized(spec, own)

    def _cover_creation(self, spec: Spec) -> None:
        for section in ("placement", "serverPool", "contentPool", "release", "nodeClassRef"):
            for key in ("labelKey", "server", "content", "name", "namespace", "management", "group", "kind"):
                if key in spec.get(section, {}):
                    self._cover(f"{section}.{key}", str(spec[section][key]).partition("-")[2] or spec[section][key])

    def _cover(self, path: str, value: str) -> None:
        self.judged.covered.append((path, value[:60]))

    async def _step(self, subject: Subject, operation: Operation) -> None:
        before, before_pools = subject.read(), subject.picture()
        was = dict(before["spec"])
        spec = operation.applied(was, subject.own)
        code, words = subject.declare(spec)
        if code != 200:
            assert code in _REFUSED, words
            after = subject.read()
            assert after["spec"] == was, "a refused change has changed the spec"
            assert after["metadata"]["generation"] == before["metadata"]["generation"]
            assert not valid(spec) or not movable(was, _filled(spec, was)), f"refused, but the models take it: {words}"
            self.judged.refused += 1
            self._cover(operation.of, operation.value)
            return
        assert valid(spec), "accepted, but the models refuse it"
        now = subject.spec
        assert movable(was, now), "accepted, though it changes what is immutable"
        await self._accepted(subject, was, now)
        self._cover(operation.of, operation.value)
        if subject.told()[1]["status"] != "True" and len(managed(now)) == len(pools(now)):
            # What is held back shows only in what a fresh profile lacks: it is taken back, and all is as before.
            await self._back(subject, was, before_pools)

    async def _accepted(self, subject: Subject, was: Spec, now: Spec) -> None:
        self.judged.accepted += 1
        quiet = now["mode"] == "Plan" or now["suspend"]
        before = {name: pool and pool["spec"] for name, pool in subject.pools(was).items()} if quiet else {}
        await subject.settled()
        if quiet:
            after = {name: pool and pool["spec"] for name, pool in subject.pools(was).items()}
            assert after == before, "written, though it is told to write nothing"
            assert subject.declare({**subject.spec, "mode": "Enforce", "suspend": False})[0] == 200
            await subject.settled()
        subject.let_go |= {pool["name"] for pool in managed(was)}
        subject.let_go -= {pool["name"] for pool in pools(now)}
        if served(now):
            for name in sorted(subject.let_go):
                await subject.left(name, deleted=now["deletionPolicy"]["nodePools"] == "Delete")
            subject.let_go.clear()

    def _trouble(self, subject: Subject) -> Iterator[tuple[str, Spec]]:
        """Yield something bad that no schema knows, with its name; another one each time."""
        own, count = subject.own, self.judged.rolled_back + self._number
        arm = {"requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}]}
        amd = {"requirements": [{"key": "example.com/x", "operator": "Exists"}], "labels": {"example.com/x": "y"}}
        troubles: list[tuple[str, Spec]] = [
            ("no such NodeClass", {"nodeClassRef": {"name": f"{own}-missing"}}),
            ("no node can be both", {"contentPool": merged(arm, {"labels": {"kubernetes.io/arch": "amd64"}})}),
            ("no room at all", {"contentPool": {"limits": {"cpu": "0"}}, "serverPool": {"limits": {"nodes": 0}}}),
            ("no such time zone", {"disruptions": {"windows": [_window("Mars/Phobos")]}}),
            ("a window that never opens", {"disruptions": {"windows": [_window("Etc/UTC", "0 0 30 2 *")]}}),
            ("a pool twice as large as the world", {"contentPool": {"limits": {"cpu": "9007199254740991E"}}}),
            ("labels of 63 characters", {"contentPool": {**amd, "annotations": {"a/b": "ü" * 5000}}}),
            ("no release of that name", {"release": {"namespace": "nowhere", "name": f"{own}-none"}}),
        ]
        yield troubles[count % len(troubles)]

    async def _rolled_back(self, subject: Subject, trouble: Spec) -> None:
        before, was = subject.picture(), subject.spec
        code, _ = subject.declare(merged(was, trouble))
        if code == 200:
            await eventually(subject.told, timeout=_LIMIT, interval=_POLL)
            await self._back(subject, was, before)
        else:
            assert subject.picture() == before, "a refused change has changed something"
        self.judged.rolled_back += 1

    async def _back(self, subject: Subject, was: Spec, before: Json) -> None:
        code, words = subject.declare(was)
        assert code == 200, words
        await subject.settled()

        def again() -> bool:
            now = subject.picture()
            assert now == before, f"rolled back, but {_difference(before, now)}"
            return True

        await eventually(again, timeout=_LIMIT, interval=_POLL)

    async def _compare(self, subject: Subject) -> None:
        spec, own = subject.spec, unique("op")
        fresh = json.loads(json.dumps(spec).replace(subject.own, own))
        async with self._profile(own, fresh) as other:

            def alike() -> bool:
                expected, found = other.picture(), subject.picture()
                assert expected == found, f"the way there shows: {_difference(expected, found)}"
                return True

            with contextlib.suppress(NotYetError):
                await eventually(alike, timeout=_LIMIT, interval=_POLL)
                return
            alike()


def _window(zone: str, schedule: str = "0 3 * * 6") -> Spec:
    return {"schedule": schedule, "duration": "4h", "timeZone": zone}


def _filled(spec: Spec, was: Spec) -> Spec:
    """Return the spec with the defaults of what is immutable."""
    empty: Spec = {"labelKey": "workload", "server": "connect-server", "content": "connect-content"}
    result = merged({"placement": empty}, spec)
    for key, name in (("serverPool", "connect-server"), ("contentPool", "connect-content")):
        result = merged({key: {"name": name, "management": "Managed"}}, result)
    return result if isinstance(result.get("nodeClassRef"), dict) else {**result, "nodeClassRef": was["nodeClassRef"]}


def _difference(one: Any, other: Any, path: str = "") -> str:
    """Return the first place where two documents differ, and how."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                return _difference(one.get(key), other.get(key), f"{path}/{key}")
    return f"{path}: expected {json.dumps(one)[:300]}, found {json.dumps(other)[:300]}"
