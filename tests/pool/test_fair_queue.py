"""The order of waiting tiles: owners take turns, and the oldest owner gets half of the seats."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enlarger.pool.fair_queue import FairQueue


def filled(**tiles: int) -> FairQueue[str]:
    """Return a queue with this many items of each owner. The first owner is the oldest."""
    turns: FairQueue[str] = FairQueue()
    for age, (owner, count) in enumerate(tiles.items()):
        for number in range(count):
            turns.add(f"{owner}{number}", owner=owner, since=age)
    return turns


def taken(turns: FairQueue[str], count: int = 1000) -> list[str]:
    """Take up to this many items, and return them."""
    found = (turns.take(lambda _: True) for _ in range(count))
    return [item for item in found if item is not None]


def test_one_owner_gets_all_in_order() -> None:
    """There is no other owner."""
    assert taken(filled(a=3)) == ["a0", "a1", "a2"]


def test_nothing_is_left_at_the_end() -> None:
    """The queue keeps neither an item nor an owner."""
    turns = filled(a=2, b=1)
    assert (len(turns), sorted(turns)) == (3, ["a0", "a1", "b0"])
    assert len(taken(turns)) == 3
    assert (len(turns), list(turns), taken(turns)) == (0, [], [])


def test_newcomer_behind_a_large_one_is_next() -> None:
    """This holds however long the large one has been alone."""
    turns = filled(large=100)
    taken(turns, 7)
    turns.add("small", owner="small", since=1)
    assert taken(turns, 1) == ["small"]


def test_oldest_gets_every_other_item() -> None:
    """The others share what is left, by turns."""
    assert taken(filled(a=9, b=9, c=9), 9) == ["a0", "b0", "a1", "c0", "a2", "b1", "a3", "c1", "a4"]


def test_age_decides_and_not_the_order_of_coming() -> None:
    """A second pass of an old request comes late, and is still the oldest."""
    turns: FairQueue[str] = FairQueue()
    for owner, since in (("young", 5.0), ("old", 1.0)):
        for number in range(3):
            turns.add(f"{owner}{number}", owner=owner, since=since)
    assert taken(turns) == ["old0", "young0", "old1", "young1", "old2", "young2"]


def test_owners_of_one_age_take_turns() -> None:
    """None of them is the oldest."""
    turns: FairQueue[str] = FairQueue()
    for owner in "abc":
        for number in range(2):
            turns.add(f"{owner}{number}", owner=owner, since=0)
    assert {item[0] for item in taken(turns, 3)} == set("abc")
    assert len(taken(turns)) == 3


def test_what_does_not_fit_holds_nobody_up() -> None:
    """The next item of its owner is taken, and the items of other owners are, too."""
    turns = filled(a=2, b=1)
    fits = {"a1", "b0"}.__contains__
    assert [turns.take(fits) for _ in range(3)] == ["a1", "b0", None]
    assert list(turns) == ["a0"]


def test_discarded_item_is_not_taken() -> None:
    """Discarding an item that was taken, or that never existed, does nothing."""
    turns = filled(a=2, b=1)
    turns.discard("a0", owner="a")
    turns.discard("b0", owner="b")
    turns.discard("b0", owner="b")
    turns.discard("no such", owner="c")
    assert taken(turns) == ["a1"]


@given(
    oldest=st.integers(1, 30),
    arrivals=st.lists(st.lists(st.integers(1, 5), max_size=3), max_size=60),
)
def test_oldest_is_done_within_twice_its_tiles(oldest: int, arrivals: list[list[int]]) -> None:
    """However many owners arrive before each pick, and with however many items, the oldest owner has half of all picks, or one less."""
    turns = filled(oldest=oldest)
    picked: list[str] = []
    number = 0
    for step in range(2 * oldest):
        for count in arrivals[step] if step < len(arrivals) else []:
            number += 1
            for item in range(count):
                turns.add(f"{number}.{item}", owner=f"{number}", since=number)
        picked += taken(turns, 1)
    assert sum(item.startswith("oldest") for item in picked) == oldest


@given(others=st.integers(1, 6), before=st.integers(0, 20))
def test_newcomer_waits_for_two_items_of_each_at_most(others: int, before: int) -> None:
    """There are ``others`` owners before it, with many items each."""
    turns = filled(**{f"o{number}x": 50 for number in range(others)})
    taken(turns, before)
    turns.add("new", owner="new", since=99)
    assert taken(turns).index("new") < 2 * others
