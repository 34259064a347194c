"""The local directory: one owner for an id."""

from __future__ import annotations

from offhook.service.directory import LocalDirectory


def test_an_id_has_one_owner_until_it_is_released() -> None:
    directory: LocalDirectory[object] = LocalDirectory()
    first, second = object(), object()
    assert directory.claim("id", first) and directory.claim("id", first)
    assert not directory.claim("id", second)
    assert directory.find("id") is first and directory.find("other") is None
    directory.release("id")
    directory.release("id")
    assert directory.find("id") is None and len(directory) == 0
    assert directory.claim("id", second)
