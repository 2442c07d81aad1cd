"""Fights: who bends things again and again is corrected ever more slowly, and never without bound."""

from collections import Counter
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from connect_autoscaler.core.fights import MAX_PER_PATH, MAX_PER_TARGET, WHOLE, Fights
from connect_autoscaler.core.model import Fight
from unit.builders import NOW

POOL = "NodePool/connect-server"
WEIGHT, LIMITS = "/spec/weight", "/spec/limits/cpu"


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def fought(times: int, *, every: float = 1.0, manager: str = "kubectl-edit") -> Fights:
    fights = Fights()
    for n in range(times):
        fights.record(POOL, {WEIGHT: manager}, after(n * every))
    return fights


def test_five_corrections_a_minute_are_no_fight() -> None:
    assert fought(MAX_PER_PATH).active(after(5)) == ()


def test_the_sixth_within_a_minute_is_one() -> None:
    (fight,) = fought(MAX_PER_PATH + 1).active(after(5))
    assert fight == Fight(POOL, WEIGHT, "kubectl-edit", slowed_until=after(65))


def test_six_in_more_than_a_minute_are_none() -> None:
    assert fought(60, every=12.0).active(after(59 * 12)) == ()


def test_a_slowed_path_may_be_corrected_once_a_minute() -> None:
    fights = fought(6)
    assert [f.slowed_until for f in fights.active(after(64.9))] == [after(65)]
    assert [f.slowed_until for f in fights.active(after(65))] == [None]
    fights.record(POOL, {WEIGHT: "kubectl-edit"}, after(65))
    assert [f.slowed_until for f in fights.active(after(66))] == [after(125)]


def test_a_fight_ends_when_the_opponent_rests() -> None:
    fights = fought(6)
    assert len(fights.active(after(5 + 120))) == 1
    assert fights.active(after(5 + 121)) == ()
    fights.record(POOL, {WEIGHT: "kubectl-edit"}, after(130))
    assert fights.active(after(131)) == ()


def test_paths_and_targets_are_told_apart() -> None:
    fights = fought(6)
    for n in range(5):
        fights.record(POOL, {LIMITS: "other"}, after(n))
        fights.record("NodePool/connect-content", {WEIGHT: "other"}, after(n))
    assert [(f.target, f.pointer) for f in fights.active(after(6))] == [(POOL, WEIGHT)]


def test_who_bends_another_field_each_time_fights_with_the_whole_target() -> None:
    fights = Fights()
    for n in range(MAX_PER_TARGET + 1):
        fights.record(POOL, {f"/spec/limits/{n}": "bot"}, after(n))
    assert fights.active(after(31)) == (Fight(POOL, WHOLE, "bot", slowed_until=after(30 + 60)),)


def test_one_write_of_many_fields_counts_once_for_the_target() -> None:
    fights = Fights()
    for n in range(MAX_PER_PATH):
        fights.record(POOL, {f"/spec/limits/{k}": "bot" for k in range(50)}, after(n))
    assert fights.active(after(6)) == ()


def test_the_opponent_that_is_known_is_named() -> None:
    fights = fought(5, manager="argocd")
    fights.record(POOL, {WEIGHT: "unknown", LIMITS: "unknown"}, after(5))
    assert [f.manager for f in fights.active(after(6))] == ["argocd"]
    assert [f.manager for f in fought(6, manager="unknown").active(after(6))] == ["unknown"]


def test_reset_forgets() -> None:
    fights = fought(6)
    fights.reset()
    assert fights.active(after(6)) == ()
    fights.record(POOL, {WEIGHT: "x"}, after(7))
    assert fights.active(after(7)) == ()


PATHS = [WEIGHT, LIMITS, "/spec/disruption/budgets", *(f"/spec/limits/{n}" for n in range(40))]
# How long the opponent waits, and what he bends: mostly fast, sometimes just at the bounds.
MOVES = st.tuples(
    st.sampled_from([0.0, 0.001, 0.1, 1.0, 9.9, 10.0, 12.0, 29.9, 59.9, 60.0, 60.1, 119.9, 120.0, 120.1]),
    st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True) | st.just(PATHS[:2]),
)


@settings(max_examples=40)
@given(st.lists(MOVES, min_size=1, max_size=12), st.integers(1, 25))
def test_corrections_are_bounded_whatever_the_opponent_does(moves: list[tuple[float, list[str]]], rounds: int) -> None:
    fights, now, written = Fights(), NOW, list[tuple[datetime, frozenset[str]]]()
    for pause, bent in moves * rounds:
        now += timedelta(seconds=pause)
        slowed = {fight.pointer for fight in fights.active(now) if fight.slowed_until}
        allowed = frozenset() if WHOLE in slowed else frozenset(bent) - slowed
        if allowed:
            fights.record(POOL, dict.fromkeys(allowed, "bot"), now)
            written.append((now, allowed))
    for start, _ in written:
        minute = [paths for at, paths in written if start <= at < start + timedelta(minutes=1)]
        assert len(minute) <= MAX_PER_TARGET + 1
        assert max(Counter(path for paths in minute for path in paths).values()) <= MAX_PER_PATH + 1


@given(st.integers(1, 30))
def test_a_lasting_opponent_costs_one_correction_a_minute(minutes: int) -> None:
    fights, written = Fights(), 0
    for second in range(minutes * 60):
        if not any(fight.slowed_until for fight in fights.active(after(second))):
            fights.record(POOL, {WEIGHT: "bot"}, after(second))
            written += 1
    assert minutes <= written <= minutes + MAX_PER_PATH


def test_memory_is_bounded() -> None:
    fights = Fights()
    for n in range(2000):
        fights.record(POOL, {f"/spec/limits/{n}": "bot"}, after(n))
        fights.active(after(n))
    assert len(fights._paths) < 200
