"""`[webrtc]` of the file, and what browsers are told of other servers."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from tests.service.config_text import HEAD, SIP, TOKEN, one, written

from offhook.errors import ConfigError
from offhook.service.config import DevConfig
from offhook.service.serve_config import read
from offhook.service.webrtc_plan import TURN_SECONDS, WebRtcPlan

CONSOLE = f'[console]\ntoken = "{TOKEN}"\n'
WEBRTC = f"{HEAD}{CONSOLE}[webrtc]\n"


def test_the_section_as_it_is_by_itself_and_in_full(tmp_path: Path) -> None:
    plan = read(written(tmp_path, WEBRTC), {}).plan().webrtc
    assert plan == WebRtcPlan("0.0.0.0", 8481)
    text = (
        'host = "::"\nport = 9000\nadvertise = ["198.51.100.7", "2001:db8::7"]\nstun = ["stun:s.example.com"]\n'
        'turn = ["turn:t.example.com:3478?transport=udp"]\nturn_secret_env = "SECRET"\n'
    )
    plan = read(written(tmp_path, WEBRTC + text), {"SECRET": "shared"}).plan().webrtc
    assert plan is not None
    assert (plan.host, plan.port, plan.advertise) == ("::", 9000, ("198.51.100.7", "2001:db8::7"))
    assert plan.turn_secret == "shared" and "shared" not in repr(plan)


def test_without_the_section_no_browser_is_a_phone(tmp_path: Path) -> None:
    assert read(written(tmp_path, HEAD), {}).plan().webrtc is None
    assert read(written(tmp_path, WEBRTC + "enabled = false\nport = 1\n"), {}).plan().webrtc is None


def test_a_node_of_this_machine_has_them_on_loopback() -> None:
    assert DevConfig().plan().webrtc == WebRtcPlan("127.0.0.1", 0)
    assert DevConfig(host="localhost", webrtc_port=9).plan().webrtc == WebRtcPlan("127.0.0.1", 9)
    assert DevConfig(host="my.host").plan().webrtc == WebRtcPlan("0.0.0.0", 0)
    assert DevConfig(webrtc_host="192.0.2.1").plan().webrtc == WebRtcPlan("192.0.2.1", 0)
    with pytest.raises(ConfigError, match="--webrtc-host my.host"):
        DevConfig(webrtc_host="my.host").plan()


@pytest.mark.parametrize(
    ("text", "said", "fatal"),
    [
        ('host = "my.host"', "no IP address", True),
        ('host = "224.0.0.1"', "group", True),
        ('advertise = ["my.host"]', "no IP address", True),
        ('advertise = ["0.0.0.0"]', "nobody", True),
        ('advertise = ["127.0.0.1"]', "this machine only", False),
        ('advertise = ["2001:db8::7"]', 'host = "::"', False),
        ('stun = ["stun.example.com"]', "write stun:", True),
        ('stun = ["turn:stun.example.com"]', "write stun:", True),
        ('turn = ["turn:a b"]\nturn_secret = "x"', "write turn:", True),
        ('turn = ["turn:t.example.com"]', "no account", True),
        ('turn = ["turn:t.example.com"]\nturn_username = "u"', "no account", True),
        ('turn = ["turn:t.example.com"]\nturn_username = "u"\nturn_secret = "x"', "one way", True),
        ('turn_secret = "x"', "is missing", True),
        ('turn = ["turn:t.example.com"]\nturn_secret_env = "NO_SUCH"', "NO_SUCH", True),
        ("port = 99999", "out of range", True),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str, fatal: bool) -> None:
    assert said in one(tmp_path, WEBRTC + text + "\n", fatal=fatal)


def test_what_does_not_fit_the_rest_is_named(tmp_path: Path) -> None:
    assert "that of SIP" in one(tmp_path, WEBRTC + "port = 5060\n" + SIP)
    assert "rtp_ports" in one(tmp_path, WEBRTC + "port = 20001\n" + SIP, fatal=False)
    assert "[console]" in one(tmp_path, HEAD + "[webrtc]\n", fatal=False)


def test_servers_for_browsers() -> None:
    assert WebRtcPlan("127.0.0.1").ice_servers("u", 0) == []
    fixed = WebRtcPlan("h", stun=("stun:s",), turn=("turn:t",), turn_username="u", turn_password="p")
    assert fixed.ice_servers("me", 5) == [
        {"urls": ["stun:s"]},
        {"urls": ["turn:t"], "username": "u", "credential": "p"},
    ]


def test_time_limited_accounts_are_signed_as_turn_servers_check_them() -> None:
    (server,) = WebRtcPlan("h", turn=("turn:t",), turn_secret="shared").ice_servers("me", 1000.7)
    assert server["username"] == f"{1000 + TURN_SECONDS}:me"
    signed = hmac.new(b"shared", server["username"].encode(), hashlib.sha1).digest()
    assert server["credential"] == base64.b64encode(signed).decode()
