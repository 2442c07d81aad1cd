"""What a client asks of an API server, in words that stay the same from one run to the next."""

import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

WRITES: Final = frozenset({"create", "update", "apply", "patch", "delete", "deletecollection"})
_VERBS: Final = {"POST": "create", "PUT": "update", "DELETE": "delete", "PATCH": "patch"}
HELM: Final = "Helm/"
"""What Helm's User-Agent begins with."""
_RESOURCE: Final = re.compile(
    r"^/(?:api|apis/[^/]+)/[^/]+/(?:namespaces/(?P<namespace>[^/]+)/)?(?P<resource>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<subresource>.+))?$"
)


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        verb: As in RBAC, and `apply` for a server-side apply; `discover` for what is no resource.
        resource: Plural, with the subresource behind a slash if there is one; a path for discovery.
        name: Of the object; empty for lists, watches and creations.
        namespace: Of the object; empty if it has none.
        dry: Whether nothing is to be stored.
        body: Of a write, parsed.
        agent: User-Agent.
    """

    verb: str
    resource: str
    name: str = ""
    namespace: str = ""
    dry: bool = False
    body: Any = field(default=None, compare=False, hash=False)
    agent: str = field(default="", compare=False)

    @classmethod
    def of(cls, method: str, url: str, content_type: str = "", body: Any = None, agent: str = "") -> "Request":
        """Read a request line.

        Args:
            method: HTTP method.
            url: Path with query.
            content_type: Of the body.
            body: Parsed.
            agent: User-Agent.
        """
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        found = _RESOURCE.match(parts.path)
        if found is None:
            return cls("discover" if method == "GET" else method.lower(), parts.path, agent=agent)
        name = found["name"] or ""
        resource = "/".join(filter(None, (found["resource"], found["subresource"])))
        if method == "GET":
            verb = "watch" if query.get("watch") in {"true", "1"} else "get" if name else "list"
        else:
            verb = "apply" if "apply-patch" in content_type else _VERBS[method]
        dry = "dryRun" in query
        return cls(verb, resource, name, found["namespace"] or "", dry, body, agent)

    @property
    def writes(self) -> bool:
        """Tell whether it changes something if it is granted."""
        return self.verb in WRITES and not self.dry

    @property
    def helms(self) -> bool:
        """Tell whether Helm asks, and not the operator itself."""
        return self.agent.startswith(HELM)

    def signature(self, own: str) -> str:
        """Return what makes it the same request in another run.

        Args:
            own: The name that all objects of this run begin with.
        """
        name = self.name.replace(own, "*") if own else f"*{self.name}"
        where = f"{self.resource} {name}" if name else self.resource
        return f"helm: {self.verb} {where}" if self.helms else f"{self.verb} {where}"
