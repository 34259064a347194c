"""The shape of the configuration file: unknown keys, wrong kinds, values out of range; each key is explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.config_text import HEAD, SIP, TRUNK, one

from offhook.assets import example_config
from offhook.service.config_file import File, Problem, parse, sections

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["the file", "'resource' is missing"]),
        ("[resource\n", ["no TOML"]),
        (HEAD + "[node]\nprot = 1\n", ["[node]", "'prot'", "'port'"]),
        (HEAD + "[nod]\nport = 1\n", ["the file", "'nod'", "'node'"]),
        ("port = 1\n" + HEAD, ["the file", "'port'", "it belongs in [node] or [webrtc] or [sip] or [[trunk]]"]),
        (HEAD + "[node]\nlatch = true\n", ["[node]", "'latch'", "it belongs in [sip]"]),
        (HEAD + "[node.sip]\nport = 1\n", ["[node]", "'sip'", "write [sip] without anything before it"]),
        (HEAD + "[node]\nxyzzy = 1\n", ["'xyzzy'", "remove it"]),
        (HEAD + SIP + TRUNK + 'prefix = ["+1*"]\n', ["[[trunk]] 1", "'prefix'", "'prefixes'"]),
        (HEAD + SIP + '[user]\nname = "a"\n', ["[user]", "not a table", "write [[user]]"]),
        ('[[resource]]\nkey1 = "x"\n', ["[resource]", "not a list", "write [resource], and only once"]),
        (HEAD + SIP + TRUNK + 'prefixes = "+1*"\n', ["[[trunk]] 1 prefixes", "a list", 'in brackets: ["..."]']),
        (HEAD + SIP + TRUNK + 'prefixes = ["+1*", 44]\n', ["[[trunk]] 1 prefixes", "a text", "in quotes"]),
        (HEAD + '[node]\nport = "x"\n', ["[node] port", "a whole number, not a text"]),
        (HEAD + '[node]\nallow_private_targets = "yes"\n', ["true or false, not a text"]),
        (HEAD + "[[webhook]]\nname = 'x'\n", ["[[webhook]] 1", "'url' is missing"]),
    ],
)
def test_a_wrong_shape_is_told_in_words_of_the_file(tmp_path: Path, text: str, words: list[str]) -> None:
    told = one(tmp_path, text)
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[node]\nport = 70000\n", ["[node] port", "70000", "0 to 65535"]),
        ("[node]\ndrain_seconds = nan\n", ["[node] drain_seconds", "0 to 86400"]),
        ("[node]\ndrain_seconds = inf\n", ["[node] drain_seconds"]),
        ("[node]\nrestart_ms = 201\n", ["[node] restart_ms", "0 to 200"]),
        ("[node]\nmost_calls = -1\n", ["[node] most_calls"]),
        ('[node]\nhost = "foo bar"\n', ["[node] host", "'foo bar'", "no port"]),
        ('[node]\nhost = ""\n', ["[node] host"]),
        ('[node]\nissuer = ""\n', ["[node] issuer"]),
        ('[node]\nstate_dir = ""\n', ["[node] state_dir"]),
        (SIP + "port = 65535\n", ["[sip] port", "0 to 65534"]),
        (SIP + "requests_per_second = -5\n", ["[sip] requests_per_second"]),
        (SIP + 'realm = "a\\r\\nX: y"\n', ["[sip] realm", "quotes"]),
        (SIP + 'realm = ""\n', ["[sip] realm"]),
        (SIP + TRUNK + "port = 99999\n", ["[[trunk]] 1 port"]),
        (SIP + TRUNK + "strip = -1\n", ["[[trunk]] 1 strip"]),
        (SIP + TRUNK + 'transport = "sctp"\n', ["transport", "udp, tcp, tls or auto"]),
        (SIP + TRUNK + 'srtp = "yes"\n', ["[[trunk]] 1 srtp", "off, optional or required"]),
        (SIP + TRUNK + 'from_domain = "a@b"\n', ["[[trunk]] 1 from_domain"]),
        (SIP + TRUNK + 'add = "abc"\n', ["[[trunk]] 1 add"]),
        (SIP + TRUNK + 'caller_id = "1>;x"\n', ["[[trunk]] 1 caller_id"]),
        (SIP + TRUNK + 'username = "u\\"\\r\\nX: y"\n', ["[[trunk]] 1 username"]),
        (SIP + '[[trunk]]\nname = ""\nallow = ["192.0.2.1"]\n', ["[[trunk]] 1 name"]),
        *[
            (f'{SIP}[[trunk]]\nname = "t"\nhost = "{host}"\n', ["[[trunk]] 1 host", repr(host)])
            for host in ("sip:carrier.example", "carrier.example:5060", "sip..x", "a b", "-x", "x/y")
        ],
        (SIP + '[[user]]\nname = "a b"\npassword = "12345678"\n', ["[[user]] 1 name", "'a b'"]),
        (SIP + '[[number]]\nnumber = "+1"\ncalls = -1\n', ["[[number]] 1 calls"]),
        (SIP + '[[number]]\nnumber = "+1"\ncalls_per_second = -3\n', ["[[number]] 1 calls_per_second"]),
    ],
)
def test_values_that_no_node_could_use(tmp_path: Path, text: str, words: list[str]) -> None:
    told = one(tmp_path, HEAD + text)
    assert all(word in told for word in words), told


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "[2001:db8::1]", "sip.carrier.example", "pbx", "a.b."])
def test_hosts_of_trunks(host: str) -> None:
    file = parse(f'{HEAD}{SIP}[[trunk]]\nname = "t"\nhost = "{host}"\n')
    assert isinstance(file, File)


@given(st.text(max_size=60))
def test_any_text_is_a_file_or_one_problem(text: str) -> None:
    assert isinstance(parse(text), File | Problem)


@pytest.mark.parametrize("name", list(sections()))
def test_every_key_is_explained(name: str) -> None:
    kind, several = sections()[name]
    title = f"[[{name}]]" if several else f"[{name}]"
    explained = GUIDE[GUIDE.index(f"setting in `{title}`") :].partition("\n\n")[0]
    for key in kind.__struct_encode_fields__:
        assert f"`{key}`" in explained, f"docs/serve.md explains no {key} of {title}"
    assert f"\n{title}\n" in example_config().replace("\n#[", "\n["), f"config init shows no {title}"
