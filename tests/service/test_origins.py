"""`--map` rows: what is dialled for a URL (protocol.md §5.1: URLs are passed on untouched)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import ConfigError
from offhook.service.origins import Origins, origin_of

MAPPED = Origins(["https://my.host=http://127.0.0.1:8000"])


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        ("https://my.host/api/events", "http://127.0.0.1:8000/api/events"),
        ("wss://my.host", "ws://127.0.0.1:8000"),
        ("wss://MY.host:443/ws?x=1", "ws://127.0.0.1:8000/ws?x=1"),
        ("https://my.host/cb?callerId=4:+1425%2b1&x=%zz#f", "http://127.0.0.1:8000/cb?callerId=4:+1425%2b1&x=%zz#f"),
        ("https://my.host?x=/a//b", "http://127.0.0.1:8000?x=/a//b"),
        ("https://my.host:8443/api", "https://my.host:8443/api"),
        ("http://my.host/api", "http://my.host/api"),
        ("https://my.host.evil/api", "https://my.host.evil/api"),
        ("https://other/api", "https://other/api"),
        ("not a url", "not a url"),
        ("https://my.host:x/api", "https://my.host:x/api"),
    ],
)
def test_dials_the_right_side(url: str, dialled: str) -> None:
    assert MAPPED.dial(url) == dialled


def test_the_right_side_says_whether_tls_is_spoken() -> None:
    origins = Origins(["http://plain.host:80=https://[::1]:8443/"])
    assert origins.dial("ws://plain.host/a") == "wss://[::1]:8443/a"
    assert origins.dial("http://plain.host/a") == "https://[::1]:8443/a"


def test_the_longest_left_side_wins_and_its_path_is_kept() -> None:
    origins = Origins(["https://my.host=http://127.0.0.1:1", "https://my.host/two=http://127.0.0.1:2"])
    assert origins.dial("https://my.host/two/x") == "http://127.0.0.1:2/two/x"
    assert origins.dial("https://my.host/two?q") == "http://127.0.0.1:2/two?q"
    assert origins.dial("https://my.host/twofold") == "http://127.0.0.1:1/twofold"


def test_a_mapped_request_names_the_public_host() -> None:
    assert MAPPED.headers("https://my.host/x") == {"Host": "my.host", "X-Forwarded-Proto": "https"}
    assert MAPPED.headers("https://other/x") == {}


@pytest.mark.parametrize(
    "row",
    [
        "https://my.host",
        "my.host=http://127.0.0.1:8000",
        "https://my.host=127.0.0.1:8000",
        "https://my.host=http://127.0.0.1:8000/api",
        "https://my.host=http://127.0.0.1:port",
        "https://my.host?x=http://127.0.0.1:8000",
        "https://u:p@my.host=http://127.0.0.1:8000",
        "ftp://my.host=http://127.0.0.1:8000",
        "https://=http://127.0.0.1:8000",
        "=",
        "",
    ],
)
def test_a_malformed_row_is_a_config_error_that_names_the_option(row: str) -> None:
    with pytest.raises(ConfigError, match="--map"):
        Origins([row])


@given(st.text())
def test_any_text_is_a_map_or_a_config_error(text: str) -> None:
    try:
        Origins([text])
    except ConfigError:
        pass


@given(st.text(), st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126)))
def test_any_url_is_dialled_without_error_and_rests_stay(text: str, rest: str) -> None:
    MAPPED.dial(text)
    MAPPED.headers(text)
    assert MAPPED.dial("https://my.host/" + rest) == "http://127.0.0.1:8000/" + rest


def test_origins_are_compared_with_their_port() -> None:
    assert origin_of("wss://Host/x") == origin_of("https://host:443")
    assert str(origin_of("ws://[::1]:81/")) == "http://[::1]:81"
