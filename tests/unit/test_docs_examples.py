"""What the documentation shows of commands and profiles is such as the program takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest
import yaml

from connect_autoscaler.__main__ import main
from connect_autoscaler.api.names import KIND
from connect_autoscaler.cli.files import ProfileFile
from crd_schema import root

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "deploy").rglob("*.md")])
_BLOCK: Final = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_OURS: Final = re.compile(r"(?:kubectl )?connect-autoscaler ([a-z].*)")
NODE_CLASS: Final = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}


def blocks(page: Path, language: str) -> Iterator[str]:
    """Yield the blocks of a page that are written in a language, without their indentation."""
    for block in _BLOCK.finditer(page.read_text()):
        if block[2] == language:
            yield re.sub(f"^{block[1]}", "", block[3], flags=re.MULTILINE)


def commands(page: Path) -> Iterator[str]:
    """Yield the arguments of this program's own commands, those in blocks and those between backticks."""
    shown = [part for text in blocks(page, "console") for part in _typed(text)]
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", _BLOCK.sub("", page.read_text()))
    for each in (*shown, *spans):
        if found := _OURS.fullmatch(each.strip()):
            yield found[1]


def _typed(text: str) -> Iterator[str]:
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if line.startswith("$ "):
            yield from re.split(r"[|>]|&&", line[2:].partition("  #")[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist_with_these_options(page: Path) -> None:
    for each in commands(page):
        verb, *arguments = shlex.split(each)
        command = main.get_command(click.Context(main), verb)
        assert command is not None, each
        if page.name == "cli.md" and "[OPTIONS]" in arguments:
            continue  # how it is used, not a use
        try:
            command.make_parser(click.Context(command)).parse_args(arguments)
        except click.UsageError as error:
            pytest.fail(f"{each}: {error.format_message()}")


def test_commands_are_found() -> None:
    found = [each for page in PAGES for each in commands(page)]
    assert "approve --yes --wait" in found  # of a block
    assert "export -f profile.yaml --values values.yaml" in found  # of a pipe
    assert "explain REASON" in found  # between backticks


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_profiles_are_valid(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(page, "yaml")):
        for body in yaml.safe_load_all(text):
            if (spec := _spec(body)) is not None:
                file = tmp_path / f"{number}.yaml"
                whole = {"nodeClassRef": NODE_CLASS, **spec}
                if "connectAPI" in spec:
                    whole.setdefault("release", {"namespace": "posit", "name": "connect"})
                meta = {
                    "apiVersion": "connect-autoscaler.io/v1alpha1",
                    "kind": KIND,
                    "metadata": {"name": "production"},
                }
                file.write_text(yaml.safe_dump({**meta, "spec": whole}))
                ProfileFile.read(str(file)).profile()


def _spec(body: object) -> dict[str, object] | None:
    """Return the spec if this is a profile, or a part of one."""
    fields = set(root()["properties"]["spec"]["properties"])
    if not isinstance(body, dict) or body.get("kind", KIND) != KIND:
        return None
    spec = body.get("spec")
    return spec if isinstance(spec, dict) and ("kind" in body or spec.keys() & fields) else None
