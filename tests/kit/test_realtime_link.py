"""The connection to a speech model: which one, how it is reached, what happens when it breaks."""

from __future__ import annotations

import asyncio
from functools import partial
from ssl import SSLCertVerificationError
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from tests.kit.realtime_double import Answer, Do, RealtimeDouble, Say, tone
from tests.kit.realtime_double.server import BAD_KEY
from tests.kit.simulated_call import SimulatedCall, noise
from tests.kit.talking import talking
from tests.live import until

from offhook.errors import ConfigError
from offhook.kit import (
    AzureOpenAI,
    OpenAI,
    Reconnect,
    Reconnected,
    RelayFailed,
    ServiceError,
    Truncated,
    VoiceLive,
    realtime_link,
    relay,
)
from offhook.kit.realtime_services import Service, _default_credential, service_from_environment
from offhook.kit.turns import SpeechEnded, SpeechStarted

QUICK = Reconnect(tries=3, first_delay_s=0.01, longest_delay_s=0.02)
VARIABLES = (
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY",
    "AZURE_VOICELIVE_ENDPOINT", "AZURE_VOICELIVE_API_KEY",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Tokens:
    """A credential, sync."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_token(self, scope: str) -> SimpleNamespace:
        self.asked.append(scope)
        return SimpleNamespace(token=f"token-{len(self.asked)}")


class AsyncTokens(Tokens):
    async def get_token(self, scope: str) -> SimpleNamespace:  # type: ignore[override]
        return super().get_token(scope)


# Each service: how it is made from the double's address, the path that it takes, the header with the key.
SERVICES: dict[str, Any] = {
    "openai": (lambda d: OpenAI("k1", d.url), "/v1/realtime?model=m", ("authorization", "Bearer k1")),
    "openai preview": (
        lambda d: OpenAI("k1", d.url, preview=True),
        "/v1/realtime?model=m",
        ("openai-beta", "realtime=v1"),
    ),
    "azure": (lambda d: AzureOpenAI(d.origin, "k2"), "/openai/v1/realtime?model=m", ("api-key", "k2")),
    "azure preview": (
        lambda d: AzureOpenAI(d.origin + "/", "k2", preview=True, api_version="v9"),
        "/openai/realtime?api-version=v9&deployment=m",
        ("api-key", "k2"),
    ),
    "azure token": (
        lambda d: AzureOpenAI(d.origin, credential=Tokens()),
        "/openai/v1/realtime?model=m",
        ("authorization", "Bearer token-1"),
    ),
    "azure preview token": (
        lambda d: AzureOpenAI(d.origin, credential=AsyncTokens(), preview=True),
        "/openai/realtime?api-version=2025-04-01-preview&deployment=m",
        ("authorization", "Bearer token-1"),
    ),
    "voice live": (
        lambda d: VoiceLive(d.origin, "k3"),
        "/voice-live/realtime?model=m&api-version=2025-10-01",
        ("api-key", "k3"),
    ),
    "voice live token": (
        lambda d: VoiceLive(d.origin, credential=AsyncTokens()),
        "/voice-live/realtime?model=m&api-version=2025-10-01",
        ("authorization", "Bearer token-1"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
async def test_each_service_is_reached_and_heard(name: str) -> None:
    make, path, (header, value) = SERVICES[name]
    async with RealtimeDouble([[Say(tone(0.5))]]) as double, SimulatedCall() as caller:
        voice = "en-US-AvaNeural" if name.startswith("voice") else "marin"
        run = relay(caller.call, model="m", service=make(double), greeting="Hi", voice=voice, session={})
        running = asyncio.ensure_future(run)
        await until(lambda: running.done() or caller.played == tone(0.5), deadline=5)
        assert sorted(double.session.path.split("?")[1].split("&")) == sorted(path.split("?")[1].split("&"))
        assert double.session.path.split("?")[0] == path.split("?")[0]
        assert double.session.headers[header] == value
        assert ("api-key" in double.session.headers) != ("authorization" in double.session.headers)
        if name.startswith("voice"):
            settings = double.session.settings
            assert settings["turn_detection"]["type"] == "azure_semantic_vad"
            assert settings["voice"] == {"name": "en-US-AvaNeural", "type": "azure-standard"}
            assert settings["input_audio_transcription"] == {"model": "azure-speech"}
        await caller.end()
        await asyncio.wait_for(running, 5)
        assert double.errors == []


async def test_more_settings_are_laid_over() -> None:
    more = {"audio": {"input": {"noise_reduction": {"type": "far_field"}}, "output": {"speed": 1.2}}}
    async with talking(session=more, vad={"type": "semantic_vad", "eagerness": "low"}, transcribe="whisper-1") as talk:
        await talk.until(lambda: talk.double.sessions and talk.double.session.settings)
        audio = talk.double.session.settings["audio"]
        assert audio["input"]["noise_reduction"] == {"type": "far_field"} and audio["output"]["speed"] == 1.2
        assert audio["input"]["format"] == audio["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert audio["input"]["transcription"] == {"model": "whisper-1"}
        assert audio["input"]["turn_detection"]["eagerness"] == "low"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OPENAI_API_KEY": "k"}, OpenAI()),
        ({"AZURE_OPENAI_ENDPOINT": "https://a"}, AzureOpenAI()),
        ({"AZURE_VOICELIVE_ENDPOINT": "https://a"}, VoiceLive()),
        ({"OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://a"}, OpenAI()),
    ],
)
def test_the_environment_says_which(
    variables: dict[str, str], expected: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert service_from_environment() == expected


def test_what_the_environment_says_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://a")
    service = service_from_environment()
    assert service_from_environment() is service
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "k")
    assert service_from_environment() is not service


def test_no_key_gives_one_credential_for_all_calls() -> None:
    assert _default_credential() is _default_credential()
    assert not asyncio.iscoroutinefunction(_default_credential().get_token)


def test_transcribers_of_voice_live_go_with_the_model() -> None:
    names = [
        VoiceLive().transcriber(model) for model in ("gpt-realtime", "gpt-realtime-mini", "gpt-4.1", "phi4-mm-realtime")
    ]
    assert names == ["whisper-1", "whisper-1", "azure-speech", "azure-speech"]


async def test_keys_are_neither_shown_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with RealtimeDouble() as double, SimulatedCall() as caller:
        services: list[Any] = [OpenAI("sk-secret", double.url), AzureOpenAI(double.origin, "sk-secret")]
        services.append(VoiceLive(double.origin, "sk-secret"))
        for service in services:
            before = len(double.sessions)
            running = asyncio.ensure_future(relay(caller.call, service=service))
            while len(double.sessions) == before or not double.session.settings:
                await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.wait({running})
        assert "sk-secret" not in repr(services)
        mine = [record for record in caplog.records if record.name != "websockets.server"]  # the double's
        assert mine and "sk-secret" not in " ".join(record.getMessage() for record in mine)


async def test_the_environment_has_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RealtimeDouble([[Say(tone(0.5))]]) as double, SimulatedCall() as caller:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
        monkeypatch.setenv("OPENAI_BASE_URL", double.url + "/")
        running = asyncio.ensure_future(relay(caller.call, greeting="Hi"))
        await until(lambda: caller.played == tone(0.5), deadline=5)
        assert double.session.headers["authorization"] == "Bearer sk-mine" and double.session.model == "gpt-realtime"
        await caller.end()
        await asyncio.wait_for(running, 5)


@pytest.mark.parametrize(
    ("service", "why"),
    [
        (None, "set OPENAI_API_KEY .*AZURE_OPENAI_ENDPOINT .*AZURE_VOICELIVE_ENDPOINT"),
        (OpenAI(), "OpenAI: no key: set OPENAI_API_KEY"),
        (OpenAI("k", "api.openai.com"), "not the URL of a speech model: 'api.openai.com'"),
        (OpenAI("k", "https:///v1"), "not the URL of a speech model: 'https:///v1'"),
        (OpenAI("k", "https://a:x/v1"), "not the URL of a speech model: 'https://a:x/v1'"),
        (AzureOpenAI(api_key="k"), "set AZURE_OPENAI_ENDPOINT"),
        (VoiceLive(), "set AZURE_VOICELIVE_ENDPOINT"),
        (VoiceLive("https://a", credential=object()), "no get_token"),
    ],
)
async def test_wrong_settings_are_named_at_once(service: Any, why: str) -> None:
    async with SimulatedCall() as caller:
        with pytest.raises(ConfigError, match=why):
            await relay(caller.call, service=service)


async def test_unknown_turn_detection() -> None:
    async with SimulatedCall() as caller:
        with pytest.raises(ConfigError, match="vad is"):
            await relay(caller.call, service=OpenAI("k"), vad="loud")  # type: ignore[arg-type]


# ------------------------------------------------------------------ what breaks


async def test_a_lost_connection_is_made_again_with_all_that_was_said() -> None:
    tokens = Tokens()
    lost = [Say(tone(3, 600), "This is never said.")]
    async with RealtimeDouble([[Say(tone(1), "Good morning.")], lost, [Say(tone(0.5, 880), "At nine.")]]) as double:
        async with SimulatedCall() as caller:
            told: list[Any] = []
            service = AzureOpenAI(double.origin, credential=tokens)
            more: dict[str, Any] = {"service": service, "greeting": "Hi", "on_event": told.append, "reconnect": QUICK}
            running = asyncio.ensure_future(relay(caller.call, instructions="Be kind.", **more))
            await until(lambda: caller.played == tone(1), deadline=5)
            await caller.hears(1100)
            double.heard = lambda pcm: "when do you open?"
            double.think_s = 60  # the answer never comes: the connection breaks before it
            await caller.hears(900, noise(400))
            await until(lambda: double.session.active, deadline=5)
            double.think_s = 0
            double.session.drop()
            await until(lambda: caller.played == tone(1) + tone(0.5, 880), deadline=5)
            again = double.session
            assert len(double.sessions) == 2 and again.headers["authorization"] == "Bearer token-2"
            assert again.settings["instructions"] == "Be kind."
            lines = [(item.role, item.text) for item in again.items.values()][:2]
            assert lines == [("assistant", "Good morning."), ("user", "when do you open?")]
            (event,) = [event for event in told if isinstance(event, Reconnected)]
            assert event.attempts == 1 and "2 lines of the conversation were told anew" in event.lost
            await caller.end()
            await asyncio.wait_for(running, 5)
            assert double.errors == []


async def test_what_was_cut_is_told_as_it_was_heard_and_not_truncated_in_the_new_session() -> None:
    words = "one two three four"
    async with talking([[Say(tone(4), words)]], greeting="Hi", reconnect=QUICK) as talk:
        await talk.said(tone(4))
        await talk.caller.hears(1000)
        talk.double.session.drop()
        await talk.until(lambda: len(talk.double.sessions) == 2 and talk.double.session.items)
        assert talk.caller.call.speaking  # what was there is still heard
        await talk.caller.call.stop()
        await talk.until(lambda: talk.told.of(Truncated))
        assert talk.told.of(Truncated)[0].text == "one"
        assert talk.sent("conversation.item.truncate") == []
        talk.double.session.drop()
        await talk.until(lambda: len(talk.double.sessions) == 3 and talk.double.session.items)
        assert [item.text for item in talk.double.session.items.values()] == ["one"]


async def test_an_answer_that_was_broken_off_is_gone_on_with() -> None:
    """The caller has heard half a sentence, and would wait for the rest for ever."""
    rest = [Say(tone(0.5, 880), "three four.")]
    async with talking([[Say(tone(4), "one two three four")], rest], greeting="Hi", reconnect=QUICK) as talk:
        talk.double.pace_s = 0.03
        await talk.until(lambda: len(talk.caller.played) > 48000)
        talk.double.pace_s = 0
        talk.double.session.drop()
        await talk.until(lambda: talk.caller.played.endswith(tone(0.5, 880)))
        (item, _) = talk.double.session.items.values()
        assert item.role == "assistant" and item.text.startswith("one")
        assert talk.told.of(Reconnected)[0].lost.startswith("the answer that was being made")


async def test_keys_are_told_to_the_next_session_too() -> None:
    async with talking([[Say(tone(0.5))]], keys=True, reconnect=QUICK) as talk:
        await talk.until(lambda: talk.double.sessions and talk.double.session.settings)
        for key in "42#":
            talk.caller.call._keys.put(key)
        await talk.said(tone(0.5))
        talk.double.session.drop()
        await talk.until(lambda: len(talk.double.sessions) == 2 and len(talk.double.session.items) == 2)
        assert "42#" in next(iter(talk.double.session.items.values())).text


async def test_a_new_session_does_not_speak_into_what_the_caller_is_saying() -> None:
    async with talking([[Say(tone(0.5), "Hello.")]], vad="local", greeting="Hi", keys=True, reconnect=QUICK) as talk:
        await talk.said(tone(0.5))
        talk.caller.turn(SpeechStarted(500.0))
        await talk.caller.hears(200, noise(200))
        talk.double.session.drop()
        await talk.until(lambda: len(talk.double.sessions) == 2 and talk.double.session.items)
        talk.caller.call._keys.put("#")
        await talk.until(lambda: len(talk.double.session.items) == 2)
        await talk.caller.hears(200, noise(200))
        assert not talk.double.session.responses
        talk.caller.turn(SpeechEnded(900.0, b""))
        await talk.until(lambda: talk.double.session.responses)


async def test_history_may_be_kept_back() -> None:
    quiet = Reconnect(tries=3, first_delay_s=0.01, history=False)
    async with talking([[Say(tone(0.5), "Hello.")]], greeting="Hi", reconnect=quiet) as talk:
        await talk.said(tone(0.5))
        talk.double.session.drop()
        await talk.until(lambda: talk.told.of(Reconnected))
        assert talk.told.of(Reconnected)[0].lost.endswith(", and all that was said before")
        await talk.until(lambda: talk.double.session.settings)
        assert talk.double.session.items == {}


async def test_an_expired_session_is_followed_by_another() -> None:
    async with talking([[Say(tone(0.5), "Hello.")]], greeting="Hi", reconnect=QUICK) as talk:
        await talk.said(tone(0.5))
        await talk.double.session.expire()
        await talk.until(lambda: talk.told.of(Reconnected))
        assert talk.told.of(ServiceError)[0].code == "session_expired"
        talk.double.sessions[0].errors.clear()


async def test_what_the_caller_says_while_it_is_gone_waits(caplog: pytest.LogCaptureFixture) -> None:
    async with talking(reconnect=Reconnect(tries=3, first_delay_s=0.3)) as talk:
        await talk.until(lambda: talk.double.sessions and talk.double.session.settings)
        talk.double.session.drop()
        await talk.until(lambda: "try 1 of 3" in caplog.text)
        await talk.caller.hears(400, noise(400))
        await talk.until(lambda: len(talk.double.sessions) == 2 and len(talk.double.session.sound) >= 300 * 48)


async def test_keys_and_results_that_come_while_it_is_gone_are_told_to_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()

    async def look_up() -> str:
        await release.wait()
        return "found"

    slow = Reconnect(tries=3, first_delay_s=0.2)
    answers: list[Answer] = [[Do("look_up")], [Say(tone(0.5))]]
    async with talking(answers, greeting="Hi", tools=[look_up], keys=True, reconnect=slow) as talk:
        await talk.until(lambda: talk.double.sessions and talk.double.session.responses)
        await talk.until(lambda: not talk.double.session.active)
        talk.double.session.drop()
        await talk.until(lambda: "try 1 of 3" in caplog.text)
        release.set()
        for key in "7#":
            talk.caller.call._keys.put(key)
        await talk.said(tone(0.5))
        first, second = [item.text for item in talk.double.session.items.values() if item.role in ("system", "user")]
        assert first == "The tool look_up was called with {} and gave: found" and "7#" in second
        assert len(talk.double.session.responses) == 1


async def test_it_gives_up_and_the_call_is_still_there() -> None:
    async with RealtimeDouble() as double, SimulatedCall() as caller:
        running = asyncio.ensure_future(relay(caller.call, service=OpenAI("k", double.url), reconnect=QUICK))
        await until(lambda: double.sessions and double.session.settings, deadline=5)
        double.refuse_with = 503
        double.session.drop()
        with pytest.raises(RelayFailed, match=r"HTTP 503 refused; 3 more tries within .* did not help"):
            await asyncio.wait_for(running, 5)
        assert double.refused == 3 and not caller.call.ended.is_set()
        caller.call.play(tone(0.1))
        await until(lambda: caller.played == tone(0.1))


async def test_nobody_there() -> None:
    async with SimulatedCall() as caller:
        with pytest.raises(RelayFailed, match="2 more tries"):
            await relay(caller.call, service=OpenAI("k", "http://127.0.0.1:9"), reconnect=Reconnect(2, 0.01))


async def test_a_bad_key_is_not_tried_again() -> None:
    async with RealtimeDouble() as double, SimulatedCall() as caller:
        with pytest.raises(RelayFailed, match="HTTP 401 .*invalid_api_key.* check the key"):
            await relay(caller.call, service=OpenAI(BAD_KEY, double.url))


async def test_a_closed_connection_is_tried_again_if_it_was_a_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that closes with "policy" or "unauthorized" at once means it; after a while a token was too old."""
    async with talking(reconnect=QUICK) as talk:
        await talk.until(lambda: talk.double.sessions and talk.double.session.settings)
        monkeypatch.setattr(realtime_link, "STEADY_S", 0.0)
        await talk.double.session._socket.close(3000, "token expired")
        await talk.until(lambda: len(talk.double.sessions) == 2)
    monkeypatch.undo()
    for code, reason in ((1008, "not for you"), (4000, "invalid_request_error.model_not_found")):
        async with RealtimeDouble() as double, SimulatedCall() as caller:
            running = asyncio.ensure_future(relay(caller.call, service=OpenAI("k", double.url), reconnect=QUICK))
            await until(partial(bool, double.sessions), deadline=5)
            await double.session._socket.close(code, reason)
            with pytest.raises(RelayFailed, match=rf"was closed \({code} {reason}\)"):
                await asyncio.wait_for(running, 5)


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (ServiceRequestError("no way to the token service"), False),
        (ClientAuthenticationError("the secret has expired"), True),
        (SSLCertVerificationError(1, "self-signed certificate"), True),
        (ConnectionResetError("gone"), False),
    ],
)
async def test_what_may_be_better_next_time_is_tried_again(error: Exception, final: bool) -> None:
    class Broken(OpenAI):
        tried = 0

        def connect(self, model: str) -> Any:
            Broken.tried += 1
            raise error

    async with SimulatedCall() as caller:
        with pytest.raises(RelayFailed, match=str(error.args[-1])):
            await relay(caller.call, service=Broken("k"), reconnect=QUICK)
    assert Broken.tried == (1 if final else 4)


async def test_a_function_for_the_key_that_fails_is_called_again() -> None:
    asked = 0

    async def key() -> str:
        nonlocal asked
        asked += 1
        if asked % 2:
            raise LookupError("the vault is shut")
        return "sk-test"

    async with RealtimeDouble([[Say(tone(0.5))]]) as double, SimulatedCall() as caller:
        service = OpenAI(key, double.url)
        with pytest.raises(RelayFailed, match="the function that gives the key failed: LookupError: the vault is shut"):
            await relay(caller.call, service=service, reconnect=Reconnect(tries=0))
        asked = 0
        running = asyncio.ensure_future(relay(caller.call, service=service, greeting="Hi", reconnect=QUICK))
        await until(lambda: caller.played == tone(0.5), deadline=5)
        await caller.end()
        await asyncio.wait_for(running, 5)


async def test_settings_that_the_service_refuses_are_named() -> None:
    async with RealtimeDouble() as double, SimulatedCall() as caller:
        double.refuse_settings = True
        with pytest.raises(RelayFailed, match=r"settings \(session.audio.output.voice\): .*nobody"):
            await relay(caller.call, service=OpenAI("k", double.url))


async def test_a_model_that_does_not_read_holds_up_nothing() -> None:
    """The caller goes on for 12 s that nobody takes: 5 s wait, the call is not held up, and ends as it should."""
    async with talking() as talk:
        await talk.until(lambda: talk.double.sessions and talk.double.session.settings)
        talk.double.open.clear()
        await talk.caller.hears(12_000, noise(12_000))
        talk.double.open.set()
        await talk.until(lambda: len(talk.double.session.sound) >= 4_000 * 48)
