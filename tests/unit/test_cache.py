"""The newest known state of an object, whoever told it."""

from dataclasses import dataclass

from connect_autoscaler.core.cache import EVERY, Cache, Key


@dataclass(frozen=True)
class Thing:
    name: str
    version: int


def _cache(*things: Thing) -> tuple[Cache[Thing], dict[Key, list[Thing]]]:
    index: dict[Key, list[Thing]] = {}
    for thing in things:
        index.setdefault(("name", thing.name), []).append(thing)
        index.setdefault(EVERY, []).append(thing)
    cache: Cache[Thing] = Cache()
    cache.attach(index)
    return cache, index


def test_a_write_is_newer_than_the_index_until_its_event_arrives() -> None:
    cache, index = _cache(Thing("a", 9))
    cache.wrote(Thing("a", 10))
    assert cache.get("a") == Thing("a", 10)
    index["name", "a"] = [Thing("a", 11)]
    assert cache.get("a") == Thing("a", 11)


def test_versions_are_numbers() -> None:
    cache, _ = _cache(Thing("a", 100))
    cache.wrote(Thing("a", 99))
    assert cache.get("a") == Thing("a", 100)


def test_a_created_object_is_known_before_the_index_has_it() -> None:
    cache, _ = _cache()
    assert cache.get("a") is None
    cache.wrote(Thing("a", 1))
    assert cache.get("a") == Thing("a", 1)


def test_a_deletion_overtakes_an_older_write_only() -> None:
    cache, _ = _cache()
    cache.wrote(Thing("a", 5))
    cache.deleted(Thing("a", 4))
    assert cache.get("a") == Thing("a", 5)
    cache.deleted(Thing("a", 6))
    assert cache.get("a") is None


def test_an_event_is_an_echo_only_if_it_brings_what_was_written() -> None:
    cache, _ = _cache()
    cache.wrote(Thing("a", 5))
    assert not cache.arrived(Thing("a", 4))
    assert cache.get("a") == Thing("a", 5)
    assert cache.arrived(Thing("a", 5))
    assert cache.get("a") is None, "the index has it by now"
    assert not cache.arrived(Thing("a", 6))


def test_of_two_objects_of_one_name_the_newer_counts() -> None:
    cache, _ = _cache(Thing("a", 3), Thing("a", 12))
    assert cache.get("a") == Thing("a", 12)
    assert cache.by(EVERY) == {"a": Thing("a", 12)}


def test_a_look_shows_what_the_watch_did_not_tell() -> None:
    cache, index = _cache(Thing("a", 5))
    cache.looked("a", Thing("a", 7))
    assert cache.get("a") == Thing("a", 7)
    assert cache.by(EVERY) == {"a": Thing("a", 7)}
    assert not cache.arrived(Thing("a", 7)), "it is nobody's echo: who it concerns has to be woken"
    index[EVERY] = index["name", "a"] = [Thing("a", 8)]
    assert cache.get("a") == Thing("a", 8)


def test_a_look_shows_that_something_is_gone() -> None:
    cache, index = _cache(Thing("a", 5))
    cache.looked("a", None)
    assert cache.get("a") is None
    assert cache.by(EVERY) == {}
    index[EVERY] = index["name", "a"] = [Thing("a", 9)]
    cache.arrived(Thing("a", 9))
    assert cache.get("a") == Thing("a", 9)
    assert cache.by(EVERY) == {"a": Thing("a", 9)}


def test_what_a_look_has_buried_does_not_rise_when_its_successor_is_deleted() -> None:
    """Kopf's index keeps for ever what was deleted while its watch was broken."""
    cache, index = _cache(Thing("a", 5))
    cache.looked("a", None)
    cache.wrote(Thing("a", 8))
    index["name", "a"] = index[EVERY] = [Thing("a", 5), Thing("a", 8)]
    cache.arrived(Thing("a", 8))
    assert cache.get("a") == Thing("a", 8)
    index["name", "a"] = index[EVERY] = [Thing("a", 5)]
    cache.deleted(Thing("a", 9))
    assert cache.get("a") is None
    assert cache.by(EVERY) == {}


def test_nor_does_what_nobody_has_looked_for() -> None:
    cache, index = _cache(Thing("a", 5), Thing("a", 8))
    index["name", "a"] = index[EVERY] = [Thing("a", 5)]
    cache.deleted(Thing("a", 9))
    assert cache.get("a") is None
    assert cache.by(EVERY) == {}


def test_an_older_look_shows_nothing() -> None:
    cache, _ = _cache(Thing("a", 5))
    cache.looked("a", Thing("a", 4))
    assert cache.get("a") == Thing("a", 5)
