"""Which addresses are one, and which cannot be reached from here."""

from __future__ import annotations

import pytest

from offhook.sip.nat import hidden, same_host


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("[2001:db8::7]", "2001:db8::7", True),
        ("[2001:db8:0:0::7]", "2001:DB8::7", True),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("Example.com", "example.COM", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("example.com", "192.0.2.8", False),
    ],
)
def test_hosts_are_compared_as_addresses(one: str, other: str, same: bool) -> None:
    assert same_host(one, other) is same_host(other, one) is same


@pytest.mark.parametrize(
    ("host", "source", "is_hidden"),
    [
        ("192.168.1.5", "198.51.100.9", True),
        ("192.168.1.5", "10.0.0.1", True),
        ("10.0.0.7", "10.9.0.1", False),
        ("127.0.0.2", "127.0.0.1", False),
        ("127.0.0.1", "192.0.2.7", True),
        ("100.64.0.1", "192.0.2.7", True),
        ("[fd00::5]", "2001:db8::1", True),
        ("[fe80::5%eth0]", "2001:db8::1", True),
        ("2001:db8::9", "2001:db8::7", False),
        ("192.0.2.9", "192.0.2.7", False),
        ("pbx.example", "192.0.2.7", False),
        ("", "192.0.2.7", False),
    ],
)
def test_a_private_address_is_hidden_from_other_networks(host: str, source: str, is_hidden: bool) -> None:
    assert hidden(host, source) is is_hidden
