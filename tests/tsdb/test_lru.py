"""What is kept in memory, and what makes room."""

from tsdb.lru import Lru


def test_what_was_used_last_stays() -> None:
    """The oldest go when there is no room, and what is too large drives nothing away."""
    lru: Lru[str, int] = Lru(10)
    lru.put("a", 1, 4)
    lru.put("b", 2, 4)
    assert lru.get("a") == 1
    lru.put("c", 3, 4)
    assert [lru.get(key) for key in "abc"] == [1, None, 3]
    lru.put("d", 4, 11)
    assert [lru.get(key) for key in "acd"] == [1, 3, None]
    lru.put("a", 5, 11)
    assert [lru.get(key) for key in "ac"] == [None, 3]
    assert lru.size_bytes == 4
