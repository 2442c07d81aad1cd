"""The Secret in which a profile's release is remembered."""

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from connect_autoscaler.api.names import FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_PROFILE
from connect_autoscaler.core.errors import KubeError
from connect_autoscaler.core.kube import Json, Kube
from connect_autoscaler.core.watch import METADATA
from connect_autoscaler.release.state import Holder, State

_PREFIX: Final = "connect-autoscaler-"


def this_process() -> Holder:
    """Name this process, for those who come after it."""
    return Holder(socket.gethostname(), os.environ.get("POD_UID"), os.getpid(), secrets.token_hex(8))


async def marks(kube: Kube, namespace: str) -> tuple[Json, ...]:
    """Tell who has taken over a release of a namespace: metadata of the Secrets in which that is remembered.

    Raises:
        KubeError: They cannot be listed.
    """
    path, label = f"/api/v1/namespaces/{namespace}/secrets", f"{LABEL_MANAGED_BY}={FIELD_MANAGER},{LABEL_PROFILE}"
    found = await kube.get(path, METADATA.format("List"), labelSelector=label)
    return tuple(found["items"] or ())


class Store:
    """One profile's memory of its release; read once, then kept, since nobody else writes it.

    Args:
        kube: The connection.
        namespace: Of the release.
        profile: Name of the profile.
        uid: Its uid.
    """

    def __init__(self, kube: Kube, namespace: str, profile: str, uid: str) -> None:
        self._kube, self._namespace, self._profile, self._uid = kube, namespace, profile, uid
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._known: tuple[str, State] | None = None
        self._read = False
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Read it again next time."""
        self._read = False

    async def load(self) -> State | None:
        """What is remembered; None: nothing.

        The Secret is found by its label, so that a profile that was deleted and applied again finds what it left.

        Raises:
            KubeError: It cannot be read.
        """
        if not self._read:
            found = await self._kube.get(self._path, labelSelector=f"{LABEL_PROFILE}={self._profile}")
            states = [(body["metadata"]["name"], state) for body in found["items"] or () if (state := State.of(body))]
            self._known = states[0] if states else None
            self._read = True
        return self._known[1] if self._known else None

    async def save(self, state: State) -> None:
        """Remember.

        Raises:
            KubeError: It cannot be written.
        """
        name = self._known[0] if self._known else _PREFIX + self._profile
        self._read = False  # whatever becomes of the write, it is not as it was
        await self._kube.apply(f"{self._path}/{name}", state.secret(name, self._namespace, self._profile, self._uid))
        self._known, self._read = (name, state), True

    async def update(self, change: Callable[[State], State], default: State | None = None) -> None:
        """Change what is remembered as it is at this moment; one change at a time.

        Args:
            change: From the old to the new.
            default: What to begin with if nothing is remembered.

        Raises:
            KubeError: It cannot be read or written.
        """
        async with self._lock:
            await self.save(change(await self.load() or default or State.new()))

    async def delete(self) -> None:
        """Forget for good.

        Raises:
            KubeError: It cannot be deleted.
        """
        self._read = False
        if await self.load() is None or self._known is None:
            return
        try:
            body: Json = await self._kube.get(f"{self._path}/{self._known[0]}")
            await self._kube.delete(f"{self._path}/{self._known[0]}", body["metadata"]["uid"])
        except KubeError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        self._known = None
