"""The one place where what helm writes to stderr becomes a reason, and a sentence that holds no value of the release.

The texts are those of Helm 4.3 (measured), of the API server, and of OCI registries.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from connect_autoscaler.api.conditions import Reason


@dataclass(eq=False)
class HelmError(Exception):
    """A failure of helm or of its chart, classified.

    Attributes:
        reason: The reason that goes into status.
        message: One sentence for the user; it never holds a value of the release.
        passing: Whether the same call may succeed later though nobody changes anything.
        cause: Why, if the reason is that an upgrade was rolled back, or could not be.
    """

    reason: Reason
    message: str
    passing: bool = False
    cause: Reason | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A row of the table: the first one whose text is found wins."""

    text: re.Pattern[str]
    reason: Reason
    say: Callable[[str, frozenset[str]], str]
    passing: bool = False


_LIMIT: Final = 512
_FIELDS: Final = 5
_SHORTEST: Final = 4
"""Letters that a secret has at least."""
_HARMLESS: Final = frozenset({"true", "false", "null", "none", "string", "object", "array", "name", "value"})
_NOISE: Final = re.compile(r"^(level=\w+ |time=\S+ level=|[IWEF]\d{4} [\d:.]+ )")
_PIECES: Final = re.compile(r"[\s\"'`\\]+")
_ROLLED_BACK: Final = re.compile(r"has been rolled back due to rollback-on-failure(?: being set)?:?")
_ROLLBACK_FAILED: Final = re.compile(
    r"an error occurred while rolling back the release(?:\. original upgrade error)?:?"
)
_EXECUTION: Final = re.compile(r"execution error at \(([\w./:-]+)\): (.*)", re.DOTALL)
_TEMPLATE: Final = re.compile(r"[\w.-]+(?:/[\w.-]+)*/templates/[\w./-]+:\d+(?::\d+)?")
_SCHEMA_PATH: Final = re.compile(r"- at '(/[\w./-]*)'")
_CONFLICT: Final = re.compile(
    r"applying object (?P<object>\S+) \S*, Kind=(?P<kind>\w+): Apply failed with \d+ conflicts?: "
    r"(?P<rest>.*?)(?= && |conflict occurred while applying|\Z)",
    re.DOTALL,
)
_MANAGER: Final = re.compile(r"conflicts? with \"([^\"]*)\"(?: with subresource \"(\w+)\")?")
_FIELD: Final = re.compile(r"(?:^- |: )(\.\S+?)(?=:? |:?$)", re.MULTILINE)
_RIGHT: Final = re.compile(
    r"User \"(?P<user>[^\"]+)\" cannot (?P<verb>\w+) resource \"(?P<resource>[^\"]+)\" "
    r"in API group \"(?P<group>[^\"]*)\""
    r"(?P<where> in the namespace \"[^\"]+\")?"
)
_RESOURCE: Final = re.compile(r"resource (\w+/[\w./-]+) not ready")
_POLICY: Final = re.compile(r"ValidatingAdmissionPolicy '([\w.-]+)'|admission webhook \"([\w.-]+)\"")
_HTTP: Final = re.compile(r"(?:status code |: )([45]\d\d)\b")
_WHY: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), words)
    for pattern, words in (
        (r"credential not found", "it wants credentials"),
        (r"x509|certificate", "its certificate is not trusted"),
        (r"no such host|connection refused|timeout|timed out|unreachable|reset by peer|EOF", "it cannot be reached"),
        (r"no chart (?:name|version) found|not found", "it does not have that version"),
        (r"no API version|cannot unmarshal|yaml|invalid character", "it answers something else than a chart"),
    )
)


def classify(stderr: str, values: Mapping[str, Any] | None = None) -> HelmError:
    """Tell what helm complained about.

    Args:
        stderr: All of it.
        values: The values that were given to helm: a chart's own words are shown only if none of them is in there.
    """
    complaint = _complaint(stderr)
    secrets = frozenset(_pieces(values or {}))
    for pattern, reason, text in (
        (_ROLLED_BACK, Reason.ROLLED_BACK, "The upgrade failed and was rolled back"),
        (_ROLLBACK_FAILED, Reason.ROLLBACK_FAILED, "The upgrade failed, and so did its rollback"),
    ):
        if found := pattern.search(complaint):
            inner = _classify(complaint[found.end() :], secrets)
            return HelmError(reason, f"{text}: {inner.message}", inner.passing, cause=inner.reason)
    return _classify(complaint, secrets)


def classify_pull(output: str) -> HelmError:
    """Tell why a chart could not be fetched: its source is no API server, so the texts mean something else.

    Args:
        output: What helm wrote; ``repo update`` tells the cause on standard output.
    """
    return HelmError(Reason.CHART_UNAVAILABLE, _why_unavailable(output), passing=True)


def _classify(text: str, secrets: frozenset[str]) -> HelmError:
    for rule in _RULES:
        if rule.text.search(text):
            return HelmError(rule.reason, rule.say(text, secrets)[:_LIMIT], rule.passing)
    return HelmError(Reason.HELM_FAILED, "helm failed in a way that the operator does not know")


def _complaint(stderr: str) -> str:
    """Everything from the line ``Error:`` on; warnings and the lines of libraries quote it with other words."""
    lines = [line for line in stderr.splitlines() if not _NOISE.match(line)]
    start = next((i for i, line in enumerate(lines) if line.startswith("Error:")), 0)
    return "\n".join(lines[start:])


def _pieces(value: Any) -> Iterator[str]:
    """Yield what must not be shown, lower case: each leaf, in words, since text is quoted and wrapped on its way."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _pieces(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _pieces(each)
    elif value is not None and not isinstance(value, bool):
        for piece in _PIECES.split(str(value).casefold()):
            if len(piece) >= _SHORTEST and piece not in _HARMLESS:
                yield piece


def _fixed(sentence: str) -> Callable[[str, frozenset[str]], str]:
    return lambda _text, _secrets: sentence


def _chart_says(text: str, secrets: frozenset[str]) -> str:
    """Say where it fails, and the chart's own words if no value is among them."""
    found = _EXECUTION.search(text)
    place = found[1] if found else next(iter(_TEMPLATE.findall(text)), "")
    sentence = "the chart refuses the values" + (f" at {place}" if place else "")
    if found:
        words = " ".join(found[2].split())
        if words and not any(piece in words.casefold() for piece in secrets):
            return f"{sentence}: {words}"
        return f"{sentence}; its message is withheld because it may hold a value"
    return sentence


def _schema(text: str, _secrets: frozenset[str]) -> str:
    paths = ", ".join(dict.fromkeys(_SCHEMA_PATH.findall(text)))
    return "the values do not meet the chart's schema" + (f" at {paths}" if paths else "")


def _conflicts(text: str, _secrets: frozenset[str]) -> str:
    """Name objects, managers and fields; the same once, since a failed rollback tells it twice."""
    parts: dict[str, None] = {}
    for found in _CONFLICT.finditer(text):
        managers = ", ".join(
            dict.fromkeys(
                f'"{name}"' + (f" ({part})" if part else "") for name, part in _MANAGER.findall(found["rest"])
            )
        )
        fields = list(dict.fromkeys(_FIELD.findall(found["rest"])))
        more = f" and {len(fields) - _FIELDS} more" if len(fields) > _FIELDS else ""
        parts[f"{found['kind']} {found['object']}: {managers} owns {', '.join(fields[:_FIELDS])}{more}"] = None
    return "fields of the release belong to another field manager" + (f": {'; '.join(parts)}" if parts else "")


def _missing_right(text: str, _secrets: frozenset[str]) -> str:
    found = _RIGHT.search(text)
    if not found:
        return "the API server forbids what the upgrade does"
    group = f".{found['group']}" if found["group"] else ""
    return f"{found['user']} may not {found['verb']} {found['resource']}{group}{found['where'] or ''}"


def _not_ready(text: str, _secrets: frozenset[str]) -> str:
    resources = ", ".join(dict.fromkeys(_RESOURCE.findall(text)))
    return f"{resources or 'the release'} did not become ready in time"


def _unseen(text: str, _secrets: frozenset[str]) -> str:
    resources = ", ".join(dict.fromkeys(_RESOURCE.findall(text))) or "the release"
    return f"helm never saw the state of {resources}: it may lack get, list or watch of it, or of replicasets and pods"


def _denied(text: str, _secrets: frozenset[str]) -> str:
    names = ", ".join(dict.fromkeys(policy or webhook for policy, webhook in _POLICY.findall(text)))
    return "an admission policy or webhook refused an object of the release" + (f": {names}" if names else "")


def _unavailable(text: str, _secrets: frozenset[str]) -> str:
    return f"the chart cannot be had from its source: {_why_unavailable(text)}"


def _why_unavailable(text: str) -> str:
    if code := _HTTP.search(text):
        return f"it answered {code[1]}"
    return next((words for pattern, words in _WHY if pattern.search(text)), "helm does not say why")


def _rule(
    text: str, reason: Reason, say: str | Callable[[str, frozenset[str]], str], *, passing: bool = False
) -> _Rule:
    return _Rule(re.compile(text, re.IGNORECASE), reason, _fixed(say) if isinstance(say, str) else say, passing)


# A chart's own words come first, since they may be any; then conflicts, rights and time limits, in this order.
_RULES: Final = (
    _rule(r"execution error at|nil pointer evaluating|executing \"|no template", Reason.RENDER_FAILED, _chart_says),
    _rule(r"conflict occurred while applying|Apply failed with", Reason.CONFLICT, _conflicts),
    _rule(r"denied the request|denied request|exceeded quota|violates PodSecurity", Reason.ADMISSION_DENIED, _denied),
    _rule(r"is forbidden", Reason.FORBIDDEN, _missing_right),
    _rule(
        r"has no deployed releases|release: not found|release has no \S+ version",
        Reason.RELEASE_NOT_FOUND,
        "the release, or the revision, does not exist",
    ),
    _rule(
        r"another operation \(install/upgrade/rollback\) is in progress",
        Reason.PENDING_RELEASE,
        "another helm operation holds the release",
        passing=True,
    ),
    _rule(
        r"release: already exists",
        Reason.CONFLICT,
        "another helm operation wrote the release at the same time",
        passing=True,
    ),
    _rule(r"don't meet the specifications of the schema", Reason.INVALID_VALUES, _schema),
    _rule(
        r"failed to parse|cannot unmarshal yaml document",
        Reason.INTERNAL_ERROR,
        "helm cannot read the values that the operator gave it",
    ),
    _rule(  # what Helm 4.3 makes of a 403 to its first question, such as for the lack of a right to impersonate
        r"cluster unreachable: unknown",
        Reason.FORBIDDEN,
        "the API server refuses helm's user: the operator may lack the right to impersonate the ServiceAccount",
        passing=True,
    ),
    _rule(r"cluster unreachable", Reason.API_UNAVAILABLE, "helm cannot reach the API server", passing=True),
    _rule(
        r"missing in charts/ directory",
        Reason.CHART_INCOMPLETE,
        "the chart lacks a dependency in its charts/ directory",
    ),
    _rule(
        r"is not a valid chart repository or cannot be reached|not found in .* (?:repository|index)|failed to fetch"
        r"|FetchReference|repo \S+ not found|path \S+ not found|unable to get an update|failed to perform \"",
        Reason.CHART_UNAVAILABLE,
        _unavailable,
        passing=True,
    ),
    _rule(
        r"provide credentials|Unauthorized",
        Reason.UNAUTHORIZED,
        "the API server does not accept helm's credentials",
        passing=True,
    ),
    _rule(
        r"connection refused|connection reset|connection lost|broken pipe|: EOF\b|unexpected EOF|handshake timeout"
        r"|i/o timeout|Client\.Timeout|unable to handle the request|unable to return a response|too many requests"
        r"|Internal error occurred|prevented the request from succeeding|did not complete within|etcdserver",
        Reason.API_UNAVAILABLE,
        "the API server failed or did not answer helm",
        passing=True,
    ),
    _rule(
        r"invalid ownership metadata",
        Reason.OWNERSHIP_CONFLICT,
        "an object of the chart belongs to another release or tool",
    ),
    _rule(r"field is immutable", Reason.IMMUTABLE_FIELD, "the upgrade changes a field that cannot be changed"),
    _rule(r"status: Unknown(?s:.*)context deadline exceeded", Reason.FORBIDDEN, _unseen),
    _rule(r"not ready\. status: InProgress|context deadline exceeded|timed out", Reason.TIMEOUT, _not_ready),
    _rule(r"context canceled|has been cancelled", Reason.CANCELLED, "the helm operation was interrupted", passing=True),
)
