"""Digests name JSON documents by their content."""

import re

from hypothesis import given
from hypothesis import strategies as st

from connect_autoscaler.api.status import Disruption
from connect_autoscaler.core.digest import digest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=5,
)


@given(JSON)
def test_it_has_the_form_that_status_allows(document: object) -> None:
    assert re.fullmatch("sha256:[0-9a-f]{8,64}", digest(document))


@given(st.dictionaries(st.text(max_size=3), JSON, min_size=2, max_size=4))
def test_the_order_of_keys_does_not_count(document: dict[str, object]) -> None:
    assert digest(document) == digest(dict(reversed(document.items())))


def test_everything_else_does() -> None:
    documents: list[object] = [
        None,
        0,
        False,
        "",
        "0",
        [],
        {},
        [0, 1],
        [1, 0],
        [[0], 1],
        {"a": 0},
        {"a": "0"},
        {"b": 0},
    ]
    assert len({digest(document) for document in documents}) == len(documents)


def test_words_of_the_api_are_words() -> None:
    assert digest([Disruption.NONE]) == digest(["None"])


def test_it_is_the_same_in_every_version() -> None:
    """It stands in the status of profiles: another one would make every NodePool look changed."""
    assert digest({"spec": {"weight": 1}}) == "sha256:a7a4cbdc06f8a213"
