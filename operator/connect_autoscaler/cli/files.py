"""Profiles in files: where a mistake is, by line."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError

from connect_autoscaler.api.names import API_VERSION, KIND
from connect_autoscaler.api.profile import Profile
from connect_autoscaler.api.spec import ProfileSpec
from connect_autoscaler.cli.cluster import Json
from connect_autoscaler.cli.errors import CliError

Path_ = Sequence[str | int]


@dataclass(frozen=True)
class ProfileFile:
    """A profile as it stands in a file."""

    name: str
    """Of the file, for messages."""
    body: Json
    node: yaml.Node
    """The same, with the place of everything."""

    @classmethod
    def read(cls, path: str) -> Self:
        """Read the one profile of a file; ``-`` is standard input. Other objects beside it are passed over.

        Raises:
            CliError: The file cannot be read, is no YAML, or has not exactly one profile.
        """
        name = "standard input" if path == "-" else path
        try:
            text = sys.stdin.read() if path == "-" else Path(path).read_text()
            nodes = [node for node in yaml.compose_all(text, yaml.SafeLoader) if node is not None]
            bodies = [body for body in yaml.safe_load_all(text) if body is not None]
        except OSError as error:
            raise CliError(f"{name} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise CliError(f"{name} is no text in UTF-8") from error
        except yaml.YAMLError as error:
            raise CliError(f"{name}{_at(getattr(error, 'problem_mark', None))} is no YAML: {_words(error)}") from error
        found = [
            cls(name, body, node)
            for body, node in zip(bodies, nodes, strict=True)
            if isinstance(body, dict) and body.get("kind") == KIND
        ]
        if len(found) != 1:
            raise CliError(f"{name} has {len(found) or 'no'} objects of kind {KIND}; exactly one is needed")
        one = found[0]
        if one.body.get("apiVersion") != API_VERSION:
            raise CliError(f"{one.line(('apiVersion',))}: apiVersion must be {API_VERSION}")
        if not isinstance(one.body.get("metadata"), dict) or not isinstance(one.body["metadata"].get("name"), str):
            raise CliError(f"{one.line(('metadata',))}: metadata.name must be set")
        if not isinstance(one.body.get("spec"), dict):
            raise CliError(f"{one.line(('spec',))}: spec must be set; the smallest one is nodeClassRef")
        return one

    def line(self, path: Path_) -> str:
        """Say where a field stands, or the nearest one above it that does."""
        mark = self.node.start_mark
        for found in _descend(self.node, path):
            mark = found
        return f"{self.name}{_at(mark)}"

    def profile(self) -> Profile:
        """Read it by this version's models, without a cluster.

        Raises:
            CliError: It breaks the rules of the schema.
        """
        try:
            spec = ProfileSpec.model_validate(self.body["spec"])
        except ValidationError as error:
            raise CliError("\n".join(self._complaints(error))) from error
        for path, names in _unknown(self.body["spec"], spec.model_dump(mode="json", by_alias=True), ("spec",)):
            close = get_close_matches(str(path[-1]), names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"must be one of {', '.join(sorted(names))}"
            raise CliError(f"{self.line(path)}: there is no field {written(path)}; {hint}")
        metadata = {
            "uid": "",
            "generation": 1,
            "resourceVersion": "0",
            "creationTimestamp": "1970-01-01T00:00:00Z",
            **{key: value for key, value in self.body["metadata"].items() if key in {"name", "annotations"}},
        }
        return Profile.of({"metadata": metadata, "spec": self.body["spec"]})

    def _complaints(self, error: ValidationError) -> Iterator[str]:
        told = set()
        for each in error.errors():
            path = ("spec", *_real(self.body["spec"], each["loc"]))
            message = each["msg"].removeprefix("Value error, ")
            if (path, message) not in told:
                told.add((path, message))
                yield f"{self.line(path)}: {written(path)}: {message[:1].lower()}{message[1:]}"

    def refused(self, causes: Sequence[tuple[str, str]]) -> str:
        """Say where the API server found fault with it."""
        return "\n".join(f"{self.line(read(field))}: {field}: {message}" for field, message in causes)


def written(path: Path_) -> str:
    """Write a path as the API server does: ``spec.serverPool.taints[0].key``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def read(field: str) -> Path_:
    """Read such a path."""
    parts = field.replace("]", "").replace("[", ".").split(".")
    return [int(part) if part.isdigit() else part for part in parts if part]


def _descend(node: yaml.Node, path: Path_) -> Iterator[yaml.Mark]:
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == part), None)
            if pair is None:
                return
            node = pair[1]
            yield pair[0].start_mark
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            yield node.start_mark
        else:
            return


def _real(value: Any, loc: Sequence[str | int]) -> Path_:
    """The part of pydantic's location that is in the document: it also names the branches of unions."""
    found: list[str | int] = []
    for part in loc:
        if isinstance(value, Mapping) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            break
        found.append(part)
    return found


def _unknown(given: Any, known: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], list[str]]]:
    """Fields that the models passed over, each with those there are."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            if key not in known:
                yield (*path, key), list(known)
            else:
                yield from _unknown(value, known[key], (*path, key))
    elif isinstance(given, list) and isinstance(known, list):
        for index, (value, below) in enumerate(zip(given, known, strict=False)):
            yield from _unknown(value, below, (*path, index))


def _at(mark: yaml.Mark | None) -> str:
    return f", line {mark.line + 1}" if mark else ""


def _words(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error)
