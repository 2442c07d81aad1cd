"""A stand-in for the API of Connect, for tests and the demo: its endpoints from a state in memory, and its faults.

    async with ConnectServer() as connect:
        report = connect.add_content("sales", schedules=[{"variant_key": "main", "next_run": "2030-01-01T00:00:00Z"}])
        job = connect.add_job(report, "build_report", hostname="connect-0")
        connect.lose("connect-0")                       # its server is gone: nobody vouches for the job any more
        connect.trouble("hang", path="v1/queue")        # and more of the kind
        ...
        assert connect.asked("POST") == [...]

What it claims is Posit's API description; what that leaves open is as harmless as can be. It is not Connect: nothing is
rendered, and a job ends when `finish` says so, or when its Kubernetes Job does (`connect_content.Launcher`).
"""

import asyncio
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from harness.api import Json
from harness.connect_faults import Fault, Faults, Handler, Trouble, below, error
from harness.connect_state import ConnectState, Launches, now
from sandbox import certs

ADMINISTRATOR: Final = "administrators-key-5ecret"
VIEWER: Final = "viewers-key-5ecret"
_TAGS: Final = {"rmd-static": "build_report", "quarto-static": "build_report", "jupyter-static": "build_jupyter"}
_FORBIDDEN_TO_VIEWERS: Final = ("v1/system/", "v1/queue", "v1/content", "applications/")


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        method: Of HTTP.
        path: Below ``/__api__``.
        query: Parameters.
        body: Decoded JSON, None if there was none.
        authorization: The header.
        at: Seconds of the loop's clock.
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    authorization: str | None = field(repr=False)
    at: float


class ConnectServer(ConnectState):
    """The server, in the loop that enters its context.

    Args:
        tls: Serve https, with a certificate of an authority of its own: `ca`.
        version: Of Connect; None: it keeps it to itself.
        launcher: Runs what is rendered by request; None: nothing runs.

    Attributes:
        url: Its address.
        ca: The authority in PEM.
        requests: All there were.
    """

    def __init__(
        self, *, tls: bool = False, version: str | None = "2026.08.0", launcher: Launches | None = None
    ) -> None:
        super().__init__(version, launcher)
        self.url = ""
        self.ca = b""
        self.requests: list[Asked] = []
        self._tls = tls
        self._faults = Faults()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application(middlewares=[self._record, self._faults.middleware, self._admit])
        application.add_routes(self._routes())
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._context() if self._tls else None)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._faults.close()
        if self._runner:
            await self._runner.cleanup()

    def trouble(
        self, what: Trouble, *, path: str = "", times: int | None = None, seconds: float = 0.5, to: str = ""
    ) -> None:
        """Have requests go wrong.

        Args:
            what: How.
            path: How their path below ``/__api__`` begins.
            times: How often; None: from now on.
            seconds: How long `slow` takes, and `drip` from byte to byte.
            to: Where `redirect` leads.
        """
        self._faults.add(Fault(what, path, times, seconds, to))

    def behave(self) -> None:
        """Have nothing go wrong any more."""
        self._faults.clear()

    def asked(self, method: str = "", path: str = "") -> list[Asked]:
        """Return the requests with a method whose path begins so."""
        return [each for each in self.requests if each.method.startswith(method) and each.path.startswith(path)]

    def _context(self) -> ssl.SSLContext:
        authority = certs.issue("connect-ca")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryDirectory() as directory:
            crt, key = certs.issue("connect", ca=authority, loopback=True).write(Path(directory), "connect")
            context.load_cert_chain(crt, key)
            self.ca = authority.write(Path(directory), "ca")[0].read_bytes()
        return context

    def _routes(self) -> list[web.RouteDef]:
        api = "/__api__"
        return [
            web.get("/__ping__", _ping),
            web.get(f"{api}/server_settings", self._settings),
            web.get(f"{api}/v1/system/hosts", self._list_hosts),
            web.get(f"{api}/v1/content", self._list_content),
            web.get(f"{api}/v1/content/{{guid}}", _one(self.contents)),
            web.get(f"{api}/v1/content/{{guid}}/jobs", self._list_jobs),
            web.get(f"{api}/applications/{{guid}}/variants", _one(self.variants)),
            web.get(f"{api}/v1/queue", self._list_queue),
            web.get(f"{api}/v1/tasks/{{guid}}", _one(self.tasks)),
            web.post(f"{api}/v1/content/{{guid}}/render", self._render),
            web.post(f"{api}/v1/content/{{guid}}/build", self._build),
        ]

    async def _settings(self, _: web.Request) -> web.Response:
        return web.json_response({"version": self.version} if self.version else {})

    async def _list_hosts(self, request: web.Request) -> web.Response:
        alive = [{**self.hosts[name], "last_seen": now()} for name in self.alive]
        dead = [] if request.query.get("active") == "true" else self.hosts.keys() - set(self.alive)
        return web.json_response([*alive, *(self.hosts[name] for name in sorted(dead))])

    async def _list_content(self, request: web.Request) -> web.Response:
        hidden = set() if "schedule" in request.query.get("include", "").split(",") else {"schedules"}
        answer = web.json_response(
            [{key: value for key, value in each.items() if key not in hidden} for each in self.contents.values()]
        )
        answer.enable_compression()
        return answer

    async def _list_jobs(self, request: web.Request) -> web.Response:
        jobs = _found(self.jobs, request)
        self.refresh()
        return web.json_response(jobs)

    async def _list_queue(self, request: web.Request) -> web.Response:
        names = request.query["queue_names"].split(",")
        items = [each for each in self.queue if each["name"] in names]
        page, size = int(request.query.get("page_number", 1)), int(request.query.get("page_size", 20))
        results = items[(page - 1) * size : page * size]
        return web.json_response({"results": results, "current_page": page, "total": len(items)})

    async def _render(self, request: web.Request) -> web.Response:
        content, body = _found(self.contents, request), await request.json()
        tag = _TAGS.get(content["app_mode"])
        keys = [each["key"] for each in self.variants[content["guid"]]]
        if tag is None or body.keys() - {"variant_key"} or body.get("variant_key") not in {*keys, None}:
            return error(400, "The request is not valid.")
        return self._start(content, tag, {"variant_key": body.get("variant_key") or keys[0]}, 202)

    async def _build(self, request: web.Request) -> web.Response:
        content, body = _found(self.contents, request), await request.json()
        if body.keys() - {"bundle_id", "activate"}:
            return error(400, "The request is not valid.")
        if body.get("activate", True):
            content["bundle_id"] = body["bundle_id"]
        return self._start(content, "python_restore", {"bundle_id": body["bundle_id"]}, 200)

    def _start(self, content: Json, tag: str, fields: Json, status: int) -> web.Response:
        job = self.launch(content, tag, **fields) if self.launcher else self.add_job(content, tag, **fields)
        task = {"id": job["key"], "output": [], "result": None, "finished": False, "code": 0, "error": "", "last": 0}
        self.tasks[job["key"]] = task
        return web.json_response({"task_id": job["key"]}, status=status)

    @web.middleware
    async def _record(self, request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        said = request.headers.get("Authorization")
        at = asyncio.get_running_loop().time()
        self.requests.append(Asked(request.method, below(request), dict(request.query), body, said, at))
        answer: web.StreamResponse = await handler(request)
        return answer

    @web.middleware
    async def _admit(self, request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
        said, path = request.headers.get("Authorization"), below(request)
        if request.path.startswith("/__api__/v1") or path.startswith(_FORBIDDEN_TO_VIEWERS):
            if said not in {f"Key {ADMINISTRATOR}", f"Key {VIEWER}"}:
                return error(401, "Unable to authenticate the request.")
            if said != f"Key {ADMINISTRATOR}" and path.startswith(_FORBIDDEN_TO_VIEWERS):
                return error(403, "You don't have permission to perform this operation.")
        answer: web.StreamResponse = await handler(request)
        return answer


async def _ping(_: web.Request) -> web.Response:
    return web.json_response({})


def _one(things: Mapping[str, Any]) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(_found(things, request))

    return answer


def _found(things: Mapping[str, Any], request: web.Request) -> Any:
    try:
        return things[request.match_info["guid"]]
    except KeyError:
        raise web.HTTPNotFound(text='{"code":4,"error":"There is none.","payload":null}') from None
