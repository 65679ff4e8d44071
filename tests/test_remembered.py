"""What is looked up at a destination is remembered for a while, and never believed where it does not help."""

from __future__ import annotations

import pytest

from postroom import remembered
from postroom.exchange import DeliveryError
from postroom.remembered import Remembered


class Clock:
    now = 5.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(remembered, "time", made)
    return made


def test_what_is_known_is_asked_once_until_it_is_too_old(clock: Clock) -> None:
    answers = iter((["a"], ["b"], ["c"]))
    known = Remembered(600.0)
    assert known.get("names", lambda: next(answers)) == ["a"]
    clock.now += 599
    assert known.get("names", lambda: next(answers)) == ["a"]
    assert known.get("others", lambda: ["x"]) == ["x"]
    clock.now += 2
    assert known.get("names", lambda: next(answers)) == ["b"]
    known.forget()
    assert known.get("names", lambda: next(answers)) == ["c"]


def test_what_is_empty_or_lacks_what_is_wanted_is_asked_again(clock: Clock) -> None:
    answers = iter(([], ["a"], ["a", "b"], ["a"]))
    known = Remembered(600.0)
    assert known.get("names", lambda: next(answers)) == []
    assert known.get("names", lambda: next(answers)) == ["a"]
    assert known.get("names", lambda: next(answers), holds=lambda names: "b" in names) == ["a", "b"]
    assert known.get("names", lambda: next(answers), holds=lambda names: "c" in names) == ["a"]


def test_a_look_that_fails_leaves_what_is_known(clock: Clock) -> None:
    known = Remembered(600.0)
    known.get("names", lambda: ["a"])

    def fails() -> list[str]:
        raise DeliveryError("it did not answer", unknown=True)

    with pytest.raises(DeliveryError):
        known.get("names", fails, holds=lambda names: "b" in names)
    assert known.get("names", fails) == ["a"]


def test_names_of_mails_do_not_pile_up(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 2)
    known = Remembered(600.0)
    for name in ("a", "b", "c"):
        known.get(name, lambda: 1)
    assert known.get("a", lambda: 2) == 2
    assert known.get("c", lambda: 2) == 1
