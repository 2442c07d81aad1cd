"""What the documentation says of the program, held against the program."""

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from connect_autoscaler.__main__ import main
from connect_autoscaler.api.conditions import ConditionType, Reason

DOCS = Path(__file__).parents[2] / "docs"
REASONS = DOCS / "reference" / "reasons.md"
PAGES = sorted([*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md"), *DOCS.parent.glob("deploy/**/*.md")])


def without_code(page: Path) -> str:
    """Return the text of a page less what is between backticks."""
    return re.sub(r"`[^`]*`", "", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return what links may name behind a `#`: headings, as they are shown in a repository."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def reasons_page() -> str:
    rows = "".join(f"| `{reason}` | {reason.explain} |\n" for reason in sorted(Reason))
    return (
        "# Reasons\n\n"
        "Every reason that a condition, a drift item or a planned action can carry, and what to do.\n\n"
        f"| reason | |\n|---|---|\n{rows}"
    )


def test_page_of_reasons_is_the_enum() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        REASONS.write_text(reasons_page())
    assert REASONS.read_text() == reasons_page(), "UPDATE_GOLDEN=1 pytest tests/unit/test_docs.py rewrites it"


def test_status_page_names_every_condition() -> None:
    page = (DOCS / "reference" / "status.md").read_text()
    shown = {kind for kind in ConditionType if f"`{kind}`" in page}
    assert shown == set(ConditionType)


def test_options_page_names_every_option_and_variable() -> None:
    page = (DOCS / "reference" / "options.md").read_text()
    run = main.commands["run"]
    for option in run.params:
        assert option.opts[0] in page
        assert f"CONNECT_AUTOSCALER_{option.name.upper()}" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS.parent)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert target.startswith("https://") or file.exists(), target
        assert not (anchor and file.suffix == ".md") or anchor in anchors(file), target


def test_help_needs_no_cluster() -> None:
    result = CliRunner().invoke(main, ["run", "--help"])
    assert result.exit_code == 0, result.output
    assert "--liveness-port" in result.output
