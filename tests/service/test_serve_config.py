"""The configuration file: what it means, and that every mistake is named with its place and its fix."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from offhook.assets import example_config
from offhook.errors import ConfigError
from offhook.service.serve_config import check, read

KEY = base64.b64encode(b"k" * 64).decode()
SECRETS = {"OFFHOOK_PHONE_ANNA": "correct horse", "OFFHOOK_CARRIER_PASSWORD": "battery staple"}
HEAD = f'[resource]\nkey1 = "{KEY}"\n'
SIP = '[sip]\nhost = "127.0.0.1"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "offhook.toml"
    path.write_text(text)
    return path


def example() -> str:
    return example_config().replace("@KEY1@", KEY).replace("@KEY2@", KEY)


def test_the_example_is_good_as_it_is(tmp_path: Path) -> None:
    plan = read(written(tmp_path, example()), {}).plan()
    assert plan.keys == (KEY, KEY) and plan.sip is None and plan.state_dir == tmp_path / "offhook-state"
    assert not plan.targets.private


def test_the_example_is_good_with_every_setting_on(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=[a-z\[])", "", example(), flags=re.MULTILINE)
    for name in ("fullchain.pem", "privkey.pem", "company-ca.pem"):
        (tmp_path / name).write_text("x")
        text = text.replace(f"/etc/offhook/{name}", name)
    plan = read(written(tmp_path, text), SECRETS).plan()
    assert plan.sip is not None and plan.public_url == "https://calls.example.com"
    (trunk,), (user,), (number,) = plan.sip.trunks, plan.sip.users, plan.sip.numbers
    assert (trunk.password, user.password) == ("battery staple", "correct horse")
    assert trunk.register and trunk.prefixes == ("+1*",) and number.webhooks == ("support",)
    assert plan.sip.rtp_ports == (20000, 29999) and not plan.sip.open_to_loopback
    (watcher,) = plan.watchers
    assert watcher.wants("4:+15550100002", "4:+1777") and not watcher.wants("4:+15550100002", "4:+44")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["'resource' is missing"]),
        ("[resource]\n", ["no access key", "key1"]),
        ('[resource]\nkey1 = "short"\n', ["[resource] key1", "base64"]),
        (f'[resource]\nkey1 = "{base64.b64encode(b"abc").decode()}"\n', ["3 bytes", "config key"]),
        ('[resource]\nkey1_env = "NOT_SET"\n', ["NOT_SET", "set it"]),
        (HEAD + '[node]\nprot = 1\n', ["[node]", "'prot'", "'port'"]),
        (HEAD + '[node]\nport = "x"\n', ["[node] port", "int"]),
        (HEAD + "[node]\nport = 70000\n", ["[node] port", "70000"]),
        (HEAD + '[node]\ntls_key = "x.pem"\n', ["tls_certificate", "both"]),
        (HEAD + '[node]\nallow_targets = ["10.0.0.0/99"]\n', ["allow_targets", "10.0.0.0/99"]),
        (HEAD + '[node]\npublic_url = "calls.example.com"\n', ["public_url", "https://"]),
        (HEAD + '[[webhook]]\nurl = "ftp://x"\n', ["[[webhook]] 1 url", "https://"]),
        (HEAD + '[[webhook]]\nurl = "https://x"\nto = ["abc"]\n', ["[[webhook]] 1 to", "'abc'"]),
        (HEAD + '[[webhook]]\nname = "x"\n', ["[[webhook]] 1", "'url' is missing"]),
        (HEAD + "[sip]\n", ["advertise", "every address"]),
        (HEAD + SIP + 'rtp_ports = "9-8"\n', ["rtp_ports", "20000-29999"]),
        (HEAD + SIP + 'destinations = ["plus one"]\n', ["destinations", "'plus one'"]),
        (HEAD + '[[user]]\nname = "anna"\n', ["[sip]", "missing"]),
        (HEAD + SIP + '[[user]]\nname = "a b"\npassword = "12345678"\n', ["[[user]] 1 name", "'a b'"]),
        (HEAD + SIP + '[[user]]\nname = "anna"\npassword = "short"\n', ["password", "8 characters"]),
        (HEAD + SIP + '[[trunk]]\nname = "t"\n', ["[[trunk]] 1", "allow", "host"]),
        (HEAD + SIP + '[[trunk]]\nname = "t"\nhost = "h"\ntransport = "sctp"\n', ["transport", "udp, tcp or tls"]),
        (HEAD + SIP + '[[trunk]]\nname = "t"\nhost = "h"\nregister = true\n', ["username"]),
        (HEAD + SIP + '[[trunk]]\nname = "t"\nallow = ["carrier.example"]\n', ["allow", "203.0.113.0/24"]),
        (HEAD + SIP + '[[number]]\nnumber = "x"\n', ["[[number]] 1 number"]),
        (
            f'{HEAD}{SIP}[[webhook]]\nname = "main"\nurl = "https://x"\n'
            '[[number]]\nnumber = "+1"\nwebhooks = ["mian"]\n',
            ["'mian'", "'main'"],
        ),
        ("[resource\n", ["no TOML"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place_and_its_fix(tmp_path: Path, text: str, words: list[str]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read(path, {})
    for word in [str(path), *words]:
        assert word in str(caught.value)
    assert KEY not in str(caught.value)


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = HEAD + SIP + 'rtp_ports = "x"\ndestinations = ["y"]\n[[user]]\nname = "?"\npassword = "z"\n'
    config, problems = check(written(tmp_path, text), {})
    assert config is None and len(problems) == 4


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="config init"):
        read(tmp_path / "nix.toml", {})
