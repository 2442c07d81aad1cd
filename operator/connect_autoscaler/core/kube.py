"""The operator's only way to the API server: a handful of verbs over ``kubernetes.aio``.

Raw JSON in and out, since NodePools are compared as JSON and typed models would cost more than they give. Kopf keeps
its own connection for lists and watches; nothing is ever written through it.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import client, config

from connect_autoscaler import __version__
from connect_autoscaler.api.names import FIELD_MANAGER
from connect_autoscaler.core.connector import Rest
from connect_autoscaler.core.errors import NETWORK_ERRORS, KubeError, Retry
from connect_autoscaler.core.lanes import Lane, Lanes

log = logging.getLogger(__name__)
_JSON: Final = "application/json"
_APPLY: Final = "application/apply-patch+yaml"
_JSON_PATCH: Final = "application/json-patch+json"
_TIMEOUT: Final = 30.0
_CONNECTING: Final = 5.0
_WATCHING: Final = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=300)
"""The API server ends a watch sooner than that, or sends a bookmark: what is silent for longer is dead."""
_PATIENCE: Final = 30
_RENEWAL: Final = 5.0
"""Seconds between readings of the credentials, however often they are refused."""
_CONNECTIONS: Final = 8
"""Enough to saturate an API server from one event loop; the default of 100 costs 20 to 30 MiB."""

Json = dict[str, Any]


class Kube:
    """Requests to one API server, with errors as `KubeError`.

    Attributes:
        guard: Called right before each write; raises a `KubeError` if nothing may be written any more.
        observe: Told of each request: method, path, and the status of its answer (0: none came).
    """

    def __init__(self, configuration: client.Configuration, *, patience: float = _TIMEOUT) -> None:
        self.guard: Callable[[], None] = lambda: None
        self.observe: Callable[[str, str, int], None] = lambda *_: None
        self._timeout = aiohttp.ClientTimeout(total=patience, sock_connect=min(patience, _CONNECTING))
        self._load: Callable[[], Awaitable[client.Configuration]] | None = None
        self._renewed = time.monotonic()
        self._retired: list[client.ApiClient] = []
        self._use(configuration)
        self._host: str = configuration.host
        self._lanes = Lanes(_CONNECTIONS)
        self.user_agent: Final = f"connect-autoscaler/{__version__}"

    def _use(self, configuration: client.Configuration) -> None:
        configuration.connection_pool_maxsize = 0  # lanes limit requests; watches come on top
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        # aiohttp would look for proxies, and read ~/.netrc in a thread, at every single request.
        configuration.client_session_kwargs = {"trust_env": False}
        # A certificate that is being replaced may not fit its key yet: then all stays as it is.
        made = client.ApiClient(configuration)
        made.rest_client = Rest(configuration)
        self._configuration, self._api = configuration, made

    @classmethod
    async def connect(
        cls, kubeconfig: str | None = None, context: str | None = None, *, patience: float = _TIMEOUT
    ) -> Self:
        """Read the kubeconfig if one is named or found, else the pod's ServiceAccount.

        Args:
            kubeconfig: A file.
            context: Of the kubeconfig.
            patience: Seconds after which a request is given up; watches have their own limits.

        Raises:
            kubernetes.aio.config.ConfigException: Neither is there, or the kubeconfig is unusable.
        """

        async def load() -> client.Configuration:
            configuration = client.Configuration()
            if kubeconfig is None:
                try:
                    config.load_incluster_config(configuration)
                except config.ConfigException:
                    await config.load_kube_config(context=context, client_configuration=configuration)
            else:
                await config.load_kube_config(kubeconfig, context, configuration)
            return configuration

        kube = cls(await load(), patience=patience)
        kube._load = load
        return kube

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for api in (*self._retired, self._api):
            await api.close()

    async def _renew(self) -> bool:
        """Read the credentials again: files, and what plugins print, rotate. Gives whether that was done.

        Requests and watches under way keep their connection until they end.
        """
        now = time.monotonic()
        if self._load is None or now - self._renewed < _RENEWAL:
            return False
        self._renewed = now
        before = self._api
        try:
            self._use(await self._load())
        except (config.ConfigException, OSError, ValueError) as error:  # ssl.SSLError is an OSError
            log.warning("credentials cannot be read again: %s", error)
            return False
        self._retired.append(before)
        if len(self._retired) > 1:
            await self._retired.pop(0).close()
        return True

    async def credentials(self) -> dict[str, Any]:
        """The same server and identity for Kopf's connection, with the credentials as they are now (they rotate)."""
        await self._renew()
        used, auth = self._configuration, await self._configuration.auth_settings()
        token = auth.get("BearerToken", {}).get("value") or ""
        return {
            "server": used.host,
            "ca_path": used.ssl_ca_cert,
            "insecure": not used.verify_ssl,
            "certificate_path": used.cert_file,
            "private_key_path": used.key_file,
            "scheme": "Bearer" if token else None,
            "token": token.removeprefix("Bearer ") or None,
        }

    async def calm(self) -> None:
        """Let the urgent requests of others pass first: in a storm everything is healed before anything is reported."""
        async with self._lanes.turn(Lane.STATUS):
            pass

    async def get(self, path: str, accept: str = _JSON, **query: str) -> Json:
        """Read an object, a list, or discovery."""
        return await self._request("GET", path, query, accept=accept)

    async def find(self, path: str) -> Json | None:
        """Read an object; None if the API server says that this very one does not exist."""
        try:
            return await self.get(path)
        except KubeError as error:
            if error.absent:
                return None
            raise

    async def apply(self, path: str, body: Json, *, force: bool = True, lane: Lane = Lane.WORK) -> Json:
        """Server-side apply as field manager ``connect-autoscaler``; an unknown field is an error.

        With ``force=False`` a field of another manager that differs is a Conflict: so an object that somebody
        created in the meantime is not taken over.
        """
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": str(force).lower()}
        return await self._request("PATCH", path, query, body, _APPLY, lane=lane)

    async def rehearse(self, path: str, body: Json, manager: str, user: str | None) -> Json:
        """Server-side apply as another field manager, and maybe as another user, without effect.

        Raises:
            KubeError: CONFLICT: somebody else owns a field; the message names it.
        """
        query = {"fieldManager": manager, "force": "false", "dryRun": "All"}
        headers = {"Impersonate-User": user} if user else {}
        return await self._request("PATCH", path, query, body, _APPLY, extra=headers)

    async def patch(self, path: str, operations: Sequence[Mapping[str, Any]], *, lane: Lane = Lane.WORK) -> Json:
        """JSON patch, guarded by its own ``test`` operations; a failed test is a Conflict."""
        try:
            return await self._request(
                "PATCH",
                path,
                {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
                list(operations),
                _JSON_PATCH,
                lane=lane,
            )
        except KubeError as error:
            if error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY} and error.retry is Retry.USER:
                raise KubeError.lost_race(error) from error
            raise

    async def delete(self, path: str, uid: str) -> None:
        """Delete in the background, but only this very object."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        await self._request("DELETE", path, {}, {**body, "preconditions": {"uid": uid}})

    async def create(self, path: str, body: Json) -> Json:
        """Create an object (an event or a Lease; everything else is applied)."""
        return await self._request("POST", path, {"fieldManager": FIELD_MANAGER}, body, lane=Lane.EVENT)

    async def stream(self, path: str, accept: str = _JSON, **query: str) -> AsyncIterator[Json]:
        """Watch: give one event after the other until the API server ends the stream.

        Args:
            path: Of a list.
            accept: Media type, such as that of metadata alone.
            query: Selectors, and the resourceVersion to go on from.

        Raises:
            KubeError: The API server refuses, breaks off, or has forgotten the resourceVersion (410).
        """
        what = f"WATCH {path}"
        answer: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await self._open(path, {**query, "watch": "true"}, accept)
            self.observe("WATCH", path, answer.status)
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise KubeError.from_answer(what, answer.status, answer.headers, await answer.read())
            async for line in _lines(answer.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"].get("code", 0)
                    raise KubeError.from_answer(what, status, {}, json.dumps(event["object"]).encode())
                yield event
        except (*NETWORK_ERRORS, ValueError) as error:
            raise KubeError.unreachable(what, error) from error
        finally:
            if answer is not None:
                answer.close()

    async def _open(self, path: str, query: Mapping[str, str], accept: str) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "User-Agent": self.user_agent}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
        url = f"{self._host}{path}?{urlencode(query)}"
        answer = await self._api.call_api("GET", url, headers, None, _request_timeout=_WATCHING)
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any | None = None,
        content_type: str = _JSON,
        *,
        lane: Lane = Lane.WORK,
        accept: str = _JSON,
        extra: Mapping[str, str] | None = None,
    ) -> Json:
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": self.user_agent, **(extra or {})}
        if method == "GET":
            del headers["Content-Type"]
        what = f"{method} {path}"
        url = f"{self._host}{path}" + (f"?{urlencode(query)}" if query else "")
        async with self._lanes.turn(lane):
            try:
                status, answered, data = await self._ask(method, path, url, headers, body)
                if status == HTTPStatus.UNAUTHORIZED and await self._renew():
                    status, answered, data = await self._ask(method, path, url, headers, body)
            except NETWORK_ERRORS as error:
                self.observe(method, path, 0)
                raise KubeError.unreachable(what, error) from error
        self.observe(method, path, status)
        if status >= HTTPStatus.BAD_REQUEST:
            raise KubeError.from_answer(what, status, answered, data)
        try:
            return json.loads(data)  # type: ignore[no-any-return]
        except ValueError as error:
            raise KubeError.unreachable(what, error) from error

    async def _ask(
        self, method: str, path: str, url: str, headers: Mapping[str, str], body: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        sent = dict(headers)
        await self._api.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
        if method != "GET":
            self.guard()
        answer = await self._api.call_api(method, url, sent, body, _request_timeout=self._timeout)
        return answer.status, answer.headers, await answer.read()


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Split a stream into lines of any length (aiohttp's own readline has a limit)."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line


def _proxy(url: str) -> str | None:
    """The proxy that HTTPS_PROXY and NO_PROXY name for the API server."""
    target = urlsplit(url)
    return None if proxy_bypass(target.netloc) else getproxies().get(target.scheme)
