"""The configuration file: what it means, and that every mistake is named with its place and its fix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.service.config_text import HEAD, KEY, OTHER_KEY, SIP, TOKEN, one, written

from offhook.assets import example_config
from offhook.errors import ConfigError
from offhook.service.bearer import TokenRule
from offhook.service.certificates import State
from offhook.service.recordings import RecordingRule
from offhook.service.serve_config import check, read
from offhook.service.speech import SpeechPlan

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "serve.md"
SECRETS = {
    "OFFHOOK_PHONE_ANNA": "correct horse",
    "OFFHOOK_CARRIER_PASSWORD": "battery staple",
    "OFFHOOK_SPEECH_KEY": "sk-1",
    "OFFHOOK_TURN_SECRET": "shared",
}


def example() -> str:
    return example_config().replace("@KEY1@", KEY).replace("@KEY2@", OTHER_KEY).replace("@TOKEN@", TOKEN)


def test_the_example_is_good_as_it_is(tmp_path: Path) -> None:
    plan = read(written(tmp_path, example()), {}).plan()
    assert plan.keys == (KEY, OTHER_KEY) and plan.sip is None and plan.state_dir == tmp_path / "offhook-state"
    assert not plan.targets.private
    assert (plan.console.token, plan.console.open, plan.console.session_hours) == (TOKEN, False, 12.0)
    assert TOKEN not in repr(plan), "a token is told to nobody"


def test_a_console_that_is_off_needs_no_token(tmp_path: Path) -> None:
    for text in ("", "[console]\nenabled = false\n"):
        assert not read(written(tmp_path, HEAD + text), {}).plan().console.pages
    for value in (TOKEN, f" {TOKEN}\n"):
        told = read(written(tmp_path, HEAD + '[console]\ntoken_env = "T"\n'), {"T": value}).plan()
        assert told.console.token == TOKEN, "what is typed in has no blanks around it"


def test_the_example_is_good_with_every_setting_on(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=[a-z\[])", "", example(), flags=re.MULTILINE)
    (tmp_path / "prompts").mkdir()
    state = State.open(tmp_path / "made", names=["calls.example.com"])
    files = {"fullchain.pem": state.server_file, "privkey.pem": state.server_key_file, "company-ca.pem": state.ca_file}
    for name, made in files.items():
        text = text.replace(f"/etc/offhook/{name}", str(made))
    plan = read(written(tmp_path, text), SECRETS).plan()
    assert plan.sip is not None and plan.public_url == "https://calls.example.com"
    assert plan.prompts == tmp_path / "prompts"
    (trunk,), (user,), (number,) = plan.sip.trunks, plan.sip.users, plan.sip.numbers
    assert (trunk.password, user.password) == ("battery staple", "correct horse")
    assert trunk.register and trunk.prefixes == ("+1*",) and number.webhooks == ("support",)
    assert plan.sip.rtp_ports == (20000, 29999) and not plan.sip.open_to_loopback
    (watcher,) = plan.watchers
    assert watcher.wants("4:+15550100002", "4:+1777") and not watcher.wants("4:+15550100002", "4:+44")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[webhook]]\nurl = "https://x"\nto = ["abc"]\n', ["[[webhook]] 1 to", "'abc'"]),
        (SIP + '[[webhook]]\nurl = "https://x"\nfrom = ["+1 555"]\n', ["[[webhook]] 1 from", "'+1 555'"]),
        ('[prompts]\nfolder = "sounds"\n', ["[prompts] folder", "/sounds is no folder", "make it"]),
        ("[prompts]\n", ["[prompts]", "'folder' is missing"]),
        ("[console]\n", ["[console] token", "missing", "offhook config token", "token_env"]),
        ('[console]\ntoken = "short"\n', ["[console] token", "easy to guess", "offhook config token"]),
        ('[console]\ntoken = "aaaaaaaaaaaaaaaaaaaaaaaa"\n', ["[console] token", "easy to guess"]),
        ('[console]\ntoken_env = "NO_SUCH"\n', ["[console] token_env", "NO_SUCH"]),
        (f'[console]\ntoken = "{KEY}"\n', ["[console] token", "access key"]),
        (f'[console]\ntoken = "{TOKEN}"\nsession_hours = 0\n', ["[console] session_hours", "out of range"]),
        ("[sip]\n", ["advertise", "every address"]),
        ('[[user]]\nname = "anna"\npassword = "12345678"\n', ["[sip]", "missing"]),
        (SIP + 'codecs = ["G729"]\n', ["[sip] codecs", "'G729'", "PCMU"]),
        (SIP + "codecs = []\n", ["[sip] codecs", "empty"]),
        (SIP + '[[user]]\nname = "a"\npassword = "12345678"\nnumber = "+1*"\n', ["[[user]] 1 number", "'+1*'"]),
        (SIP + '[[trunk]]\nname = "t"\n', ["[[trunk]] 1", "allow", "host"]),
        (SIP + '[[trunk]]\nname = "t"\nhost = "h"\nregister = true\npassword = "p"\n', ["[[trunk]] 1 username"]),
        (SIP + '[[trunk]]\nname = "t"\nhost = "h"\nregister = true\nusername = "u"\n', ["[[trunk]] 1 password"]),
        (SIP + '[[number]]\nnumber = "x y"\n', ["[[number]] 1 number"]),
        (
            SIP + '[[webhook]]\nname = "main"\nurl = "https://x"\n[[number]]\nnumber = "+1"\nwebhooks = ["mian"]\n',
            ["[[number]] 1 webhooks", "'mian'", "'main'"],
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_its_fix(tmp_path: Path, text: str, words: list[str]) -> None:
    path = written(tmp_path, HEAD + text)
    with pytest.raises(ConfigError) as caught:
        read(path, {})
    (line,) = str(caught.value).splitlines()
    for word in [str(path), *words]:
        assert word in line
    assert KEY not in line


def test_speech(tmp_path: Path) -> None:
    assert read(written(tmp_path, HEAD), {}).plan().speech == SpeechPlan()
    table = '[speech]\nprovider = "openai"\nbase_url = "https://ai/v1"\nkey_env = "K"\nvoice = "nova"\ntimeout = 5\n'
    plan = read(written(tmp_path, HEAD + table), {"K": "sk-1"}).plan().speech
    assert plan == SpeechPlan("openai", "https://ai/v1", "sk-1", "nova", timeout=5)
    assert "sk-1" not in repr(plan)


@pytest.mark.parametrize(
    ("text", "words", "fatal"),
    [
        ('provider = "azure"', ["[speech] provider", "'azure'", "local, openai or off"], True),
        ('provider = "openai"', ["[speech] base_url", "https://"], True),
        ('base_url = "https://ai/v1"', ["[speech] provider", "'local'", "openai"], True),
        ('provider = "openai"\nbase_url = "https://ai/v1"\nkey_env = "NOT_SET"', ["[speech] key_env", "NOT_SET"], True),
        ("timeout = 0", ["[speech] timeout", "1 to 120"], True),
        ('provider = "openai"\nbase_url = "http://ai/v1"\nkey = "sk-1"', ["[speech] base_url", "read the key"], False),
        ('provider = "openai"\nbase_url = "http://10.0.0.1/v1"', ["[speech] base_url", "allow_targets"], False),
    ],
)
def test_speech_that_cannot_be_had(tmp_path: Path, text: str, words: list[str], fatal: bool) -> None:
    told = one(tmp_path, f"{HEAD}[speech]\n{text}\n", fatal=fatal)
    assert all(word in told for word in words) and "sk-1" not in told, told


def test_bearer_tokens(tmp_path: Path) -> None:
    tokens = '[tokens]\nissuer = "https://login/t/v2.0"\njwks_url = "https://login/keys"\n'
    config, problems = check(written(tmp_path, HEAD + tokens), {})
    assert config is not None and config.plan().tokens == TokenRule("https://login/t/v2.0", "https://login/keys")
    (hint,) = problems
    assert hint.where == "[tokens] clients" and not hint.fatal
    config, problems = check(written(tmp_path, HEAD + tokens + 'audience = "api://x"\nclients = ["a"]\n'), {})
    assert config is not None and not problems
    rule = config.plan().tokens
    assert rule is not None and (rule.audiences, rule.clients) == (("api://x", "api://x/"), ("a",))
    assert read(written(tmp_path, HEAD), {}).plan().tokens is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('jwks_url = "https://x"\n', ["[tokens]", "'issuer' is missing"]),
        ('issuer = "i"\n', ["[tokens]", "'jwks_url' is missing"]),
        ('issuer = ""\njwks_url = "https://x"\nclients = ["a"]\n', ["[tokens] issuer", "iss"]),
        ('issuer = "i"\njwks_url = "keys"\nclients = ["a"]\n', ["[tokens] jwks_url", "https://"]),
        ('issuer = "i"\njwks_url = "http://x/keys"\nclients = ["a"]\n', ["[tokens] jwks_url", "https://"]),
        ('issuer = "i"\njwks_url = "https://x"\naudience = " "\nclients = ["a"]\n', ["[tokens] audience", "aud"]),
        ('issuer = "i"\njwks_url = "https://x"\nclients = ["a", ""]\n', ["[tokens] clients 2", "empty"]),
        ('issuer = "i"\njwks_url = "https://x"\naudiance = "y"\n', ["[tokens]", "'audience'"]),
    ],
)
def test_mistakes_about_bearer_tokens(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, f"{HEAD}[tokens]\n{text}"), {})
    (line,) = str(caught.value).splitlines()
    for word in words:
        assert word in line


def test_a_key_page_that_may_not_be_read_is_hinted_at(tmp_path: Path) -> None:
    tokens = '[tokens]\nissuer = "i"\njwks_url = "http://127.0.0.1/keys"\nclients = ["a"]\n'
    _, (hint,) = check(written(tmp_path, HEAD + tokens), {})
    assert hint.where == "[tokens] jwks_url" and "allow_targets" in hint.fix and not hint.fatal


def test_a_filter_for_everybody_is_not_narrowed_by_what_stands_beside_it(tmp_path: Path) -> None:
    text = HEAD + '[[webhook]]\nurl = "https://x"\nto = ["*", "+1555*"]\nfrom = ["8:acs:me", "+*"]\n'
    (watcher,) = read(written(tmp_path, text), {}).plan().watchers
    assert watcher.wants("4:+4930123456", "4:+1555") and watcher.wants("8:acs:a", "8:acs:me")
    assert not watcher.wants("4:+4930123456", "8:acs:you")


def test_names_of_sip_in_rules_and_filters(tmp_path: Path) -> None:
    text = HEAD + SIP + '[[webhook]]\nurl = "https://x"\nto = ["Support"]\n[[number]]\nnumber = "Support"\n'
    plan = read(written(tmp_path, text), {}).plan()
    assert plan.sip is not None
    assert plan.watchers[0].to == ("support",) and plan.sip.numbers[0].pattern == "support"


def test_hints_stay_with_the_config_and_are_no_error(tmp_path: Path) -> None:
    config = read(written(tmp_path, HEAD + '[[webhook]]\nurl = "http://127.0.0.1/"\n'), {})
    (hint,) = config.hints
    assert str(hint).startswith("hint: [[webhook]] 1 url")


def test_problems_of_a_start_name_keys_of_the_file(tmp_path: Path) -> None:
    config = read(written(tmp_path, HEAD), {})
    assert config.said("--port 1 is taken; use --port 0") == "[node] port 1 is taken; use [node] port 0"
    assert config.said("--state /x: no") == "[node] state_dir /x: no"


def test_a_file_is_read_anew(tmp_path: Path) -> None:
    config = read(written(tmp_path, HEAD), {})
    written(tmp_path, HEAD.replace(KEY, OTHER_KEY))
    assert config.plan().keys == (KEY,) and config.again().keys == (OTHER_KEY,)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert read(written(tmp_path, "\ufeff" + HEAD), {}).plan().keys == (KEY,)


def test_the_trunks_of_the_guide_are_good(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    config, problems = check(written(tmp_path, HEAD + block), {"CARRIER_PASSWORD": "battery staple"})
    assert config is not None and not problems


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = HEAD + SIP + 'rtp_ports = "x"\ndestinations = ["y"]\n[[user]]\nname = "?"\npassword = "z"\n'
    config, problems = check(written(tmp_path, text), {})
    assert config is None and len(problems) == 4


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="config init"):
        read(tmp_path / "nix.toml", {})


def test_recordings(tmp_path: Path) -> None:
    assert read(written(tmp_path, HEAD), {}).plan().recordings == RecordingRule(None, 48.0, 0)
    table = '[recordings]\nfolder = "kept"\nkeep_hours = 0\nmost_megabytes = 500\n'
    assert read(written(tmp_path, HEAD + table), {}).plan().recordings == RecordingRule(tmp_path / "kept", 0.0, 500)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"\[recordings\] folder: .*file is a file; name a folder"):
        read(written(tmp_path, HEAD + '[recordings]\nfolder = "file"\n'), {})
    with pytest.raises(ConfigError, match=r"\[recordings\] keep_hours: -1"):
        read(written(tmp_path, HEAD + "[recordings]\nkeep_hours = -1.0\n"), {})
