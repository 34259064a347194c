"""The memory outbox: order, bound, no memory for empty queues (architecture.md, Bounds)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from offhook.service.outbox import Item, MemoryOutbox


def item(queue: str, number: int) -> Item:
    return Item(queue, "http://app/", b"[]", "Some.Event", f"{queue}-{number}", 0.0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60))
def test_takes_in_order_and_drops_the_oldest(steps: list[tuple[str, bool]]) -> None:
    outbox, model = MemoryOutbox(limit=3), {"a": list[Item](), "b": list[Item]()}
    for number, (queue, puts) in enumerate(steps):
        if puts:
            new = item(queue, number)
            dropped = outbox.put(new)
            assert dropped == (model[queue].pop(0) if len(model[queue]) == 3 else None)
            model[queue].append(new)
        else:
            taken = outbox.take(queue)
            assert taken == (model[queue].pop(0) if model[queue] else None)
            if taken is not None:
                outbox.done(taken)
        assert outbox.waiting(queue) == len(model[queue])
        assert len(outbox) == len(model["a"]) + len(model["b"])


def test_an_item_in_hand_counts_until_it_is_done() -> None:
    outbox = MemoryOutbox()
    outbox.put(item("a", 1))
    taken = outbox.take("a")
    assert taken is not None and len(outbox) == 1
    outbox.done(taken)
    outbox.done(taken)
    assert len(outbox) == 0
