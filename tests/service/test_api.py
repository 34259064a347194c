"""The REST API against a stand-in node: what the SDKs sent, every refusal, repeatability, bounds."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from tests.service.fake_control import FakeNode
from yarl import URL

from offhook.errors import CallError, WireError
from offhook.service import api as api_module
from offhook.service.api import Api
from offhook.service.operations import OPERATIONS
from offhook.wire.models import (
    API_VERSIONS,
    MediaStreamingOptions,
)
from offhook.wire.signing import TokenIssuer, http_date, sign_hmac

ROOT = Path(__file__).parents[1] / "fixtures/acs"
KEY = b"k" * 32
NOW = 1795349280.0
CONNECTIONS = "/calling/callConnections"
VERSION = "?api-version=2026-03-12"
CREATE = {"targets": [{"rawId": "4:+15550001"}], "callbackUri": "https://x/cb"}


class Bench:
    """A served API with its stand-in node and a movable clock."""

    def __init__(self, issuer: TokenIssuer | None = None) -> None:
        self.node = FakeNode()
        self.now = NOW
        self.keys = [KEY]
        self.api = Api(self.node, lambda: self.keys, lambda: self.now, issuer, lambda request: "https://localhost:1/")
        app = web.Application()
        app.add_routes(self.api.routes())
        self.server = TestServer(app)
        self.client: TestClient[web.Request, web.Application] = TestClient(self.server)

    @property
    def host(self) -> str:
        return f"{self.server.host}:{self.server.port}"

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | dict[str, Any] = b"",
        headers: dict[str, str] | None = None,
        *,
        sign: bool = True,
    ) -> ClientResponse:
        """One request with exactly this target, signed over it unless told otherwise."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        signature = sign_hmac(method, target, self.host, http_date(self.now), data, KEY) if sign else {}
        url = URL(f"http://{self.host}{target}", encoded=True)
        return await self.client.session.request(
            method, url, data=BytesIO(data) if data else None, headers={**signature, **(headers or {})}
        )

    async def post(
        self, path: str, body: bytes | dict[str, Any] = b"", headers: dict[str, str] | None = None
    ) -> ClientResponse:
        return await self.send("POST", path + VERSION, body, headers)


@asynccontextmanager
async def serving(issuer: TokenIssuer | None = None) -> AsyncIterator[Bench]:
    bench = Bench(issuer)
    await bench.client.start_server()
    try:
        yield bench
    finally:
        await bench.client.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with serving() as served:
        yield served


async def error_in(response: ClientResponse, status: int, code: str) -> str:
    """The message of an error envelope that must have this status and code."""
    assert response.content_type == "application/json"
    envelope = await response.json()
    assert (response.status, list(envelope), envelope["error"]["code"]) == (status, ["error"], code)
    assert response.headers["X-Microsoft-Skype-Chain-ID"]
    message: str = envelope["error"]["message"]
    return message


def captured() -> list[dict[str, Any]]:
    files = sorted((ROOT / "samples/sdk-requests").glob("*.json"))
    return [request for file in files for request in json.loads(file.read_text())["requests"]]


CANNOT: list[tuple[str, int, str, str]] = [
    ('"X-a"', 400, "8523", "customCallingContext.sipHeaders.X-a"),
    ('"roomId"', 405, "8520", "roomCallLocator"),
]


async def test_every_captured_request_is_answered(bench: Bench) -> None:
    """With the headers and signatures as the SDKs sent them; built ones are done, others say what they are.

    But for those that ask for what cannot be: a SIP header that no carrier takes, and a room.
    """
    document = json.loads((ROOT / "samples/sdk-requests/js-1.6.0.json").read_text())
    bench.keys = [b"another key", base64.b64decode(document["accessKeyBase64"])]
    statuses: list[int] = []
    for request in captured():
        bench.node.calls["cc-1"] = bench.node.calls.get("cc-1") or bench.node._new("https://x/cb")
        url = URL(f"http://{bench.host}{request['target']}", encoded=True)
        response = await bench.client.session.request(
            request["method"], url, data=(request.get("bodyText") or "").encode() or None, headers=request["headers"]
        )
        _, operation, status, _ = bench.node.notes[-1]
        (row,) = [row for row in OPERATIONS if row.name == operation]
        refused = next((row for row in CANNOT if row[0] in (request.get("bodyText") or "")), None)
        if refused is not None:
            assert refused[3] in await error_in(response, *refused[1:3])
            statuses.append(response.status)
            continue
        assert response.status == status == (row.success if row.run else 501), (
            request["target"],
            await response.text(),
        )
        if row.run is None:
            assert operation in await error_in(response, 501, "8520")
        asked_id = request["headers"].get("Repeatability-Request-ID")
        assert response.headers.get("Repeatability-Result") == ("accepted" if asked_id and row.run else None)
        assert response.headers["x-ms-client-request-id"] == request["headers"]["x-ms-client-request-id"]
        statuses.append(response.status)
    assert len(statuses) == 87
    assert {note[1] for note in bench.node.notes} == {row.name for row in OPERATIONS}
    assert ("participant", "cc-1", "4:+15550001") in bench.node.asked
    assert ("participant", "cc-1", "8:acs:res_user") in bench.node.asked


def test_the_table_is_that_of_the_description() -> None:
    path = ROOT / "CallAutomation/stable/2026-03-12/communicationservicescallautomation.json"
    described = {}
    for route, methods in json.loads(path.read_text())["paths"].items():
        for method, operation in methods.items():
            if method in ("get", "post", "delete"):
                successes = {int(status) for status in operation["responses"] if status.startswith("2")}
                names = {str(parameter.get("name")) for parameter in operation.get("parameters", [])}
                repeatable = "Repeatability-Request-ID" in names
                described[method.upper(), route.partition("?")[0]] = (successes, repeatable)
    table = {(row.method, row.path): row for row in OPERATIONS}
    assert len(OPERATIONS) == len(table) == 34
    assert set(table) == set(described)
    for key, row in table.items():
        successes, repeatable = described[key]
        assert row.success in successes, row.name
        assert row.repeatable == repeatable, row.name


async def test_create_answers_properties_and_passes_the_version_on(bench: Bench) -> None:
    streaming = {"transportType": "websocket", "audioChannelType": "Mixed", "transportUrl": "wss://x?a=+1"}
    response = await bench.send(
        "POST",
        f"{CONNECTIONS}?api-version=2024-11-15-Preview",
        {**CREATE, "callbackUri": "https://x/cb?callerId=4:+1425", "mediaStreamingOptions": streaming},
    )
    assert response.status == 201
    assert await response.json() == {
        "callConnectionId": "cc-1",
        "callConnectionState": "connecting",
        "callbackUri": "https://x/cb?callerId=4:+1425",
        "correlationId": "chain-1",
        "targets": [],
    }
    assert response.headers["X-Microsoft-Skype-Chain-ID"] == "chain-1"
    ((_, request, version),) = bench.node.asked
    assert version == "2024-11-15-preview"
    assert request.media_streaming_options == MediaStreamingOptions(
        audio_channel_type="mixed", transport_url="wss://x?a=+1"
    )
    assert bench.node.notes == [("cc-1", "CreateCall", 201, {})]


@pytest.mark.parametrize(
    ("method", "path", "status", "asked"),
    [
        ("GET", "/cc-1", 404, ("properties", "cc-1")),
        ("DELETE", "/cc-1", 204, ("hang_up", "cc-1")),
        ("POST", "/cc-1:terminate", 204, ("terminate", "cc-1")),
        ("GET", "/cc-1/participants", 200, ("participants", "cc-1")),
        ("GET", "/cc-1/participants/4%3A%2B1425", 200, ("participant", "cc-1", "4:+1425")),
        ("GET", "/cc-1/participants/4:%2B1425", 200, ("participant", "cc-1", "4:+1425")),
        ("GET", "/cc-1/participants/8:acs:r_u", 200, ("participant", "cc-1", "8:acs:r_u")),
        ("GET", "/cc-1/participants/a%2Fb%25", 200, ("participant", "cc-1", "a/b%")),
        ("GET", "/c%63-1", 404, ("properties", "cc-1")),
        ("POST", "/cc-1:startMediaStreaming", 202, ("start_streaming", "cc-1", None, None)),
        ("POST", "/cc-1:stopMediaStreaming", 202, ("stop_streaming", "cc-1", None, None)),
    ],
)
async def test_ids_and_statuses(bench: Bench, method: str, path: str, status: int, asked: tuple[Any, ...]) -> None:
    response = await bench.send(method, CONNECTIONS + path + VERSION)
    assert response.status == status
    assert bench.node.asked == [asked]
    if status in (202, 204):
        assert await response.read() == b""


async def test_participants_are_a_page(bench: Bench) -> None:
    page = await (await bench.send("GET", f"{CONNECTIONS}/cc-1/participants{VERSION}")).json()
    one = {"kind": "phoneNumber", "rawId": "4:+1", "phoneNumber": {"value": "+1"}}
    assert page == {"value": [{"identifier": one, "isMuted": False, "isOnHold": False}]}


@pytest.mark.parametrize("version", API_VERSIONS)
async def test_known_versions(bench: Bench, version: str) -> None:
    assert (await bench.send("DELETE", f"{CONNECTIONS}/cc-1?api-version={version}")).status == 204


@pytest.mark.parametrize("query", ["", "?api-version=", "?api-version=2021-01-01", "?x=1", "?api-version=%00%ff"])
async def test_unknown_versions_list_the_known_ones(bench: Bench, query: str) -> None:
    message = await error_in(await bench.send("DELETE", f"{CONNECTIONS}/cc-1{query}"), 400, "8523")
    assert "2026-03-12" in message and "2023-10-15" in message
    assert bench.node.asked == []


async def test_no_or_bad_signatures(bench: Bench) -> None:
    target = CONNECTIONS + VERSION
    message = await error_in(await bench.send("POST", target, CREATE, sign=False), 401, "7509")
    assert "sign the request with the access key" in message
    message = await error_in(
        await bench.send("POST", target, CREATE, {"Authorization": "Basic x"}, sign=False), 401, "7509"
    )
    assert "HMAC-SHA256" in message
    bench.keys = [b"new key"]
    response = await bench.send("POST", target, CREATE)
    assert response.headers["WWW-Authenticate"] == "HMAC-SHA256"
    assert "Check that the access key" in await error_in(response, 401, "7509")
    bench.keys = []
    assert "No access key" in await error_in(await bench.send("POST", target, CREATE), 401, "7509")
    assert bench.node.asked == []


async def test_signatures_outside_the_skew(bench: Bench) -> None:
    old = sign_hmac("DELETE", f"{CONNECTIONS}/cc-1{VERSION}", bench.host, http_date(NOW), b"", KEY)
    bench.now = NOW + 301
    response = await bench.send("DELETE", f"{CONNECTIONS}/cc-1{VERSION}", b"", old, sign=False)
    assert "301 s behind" in await error_in(response, 401, "7509")
    bench.now = NOW + 299
    assert (await bench.send("DELETE", f"{CONNECTIONS}/cc-1{VERSION}", b"", old, sign=False)).status == 204


async def test_two_keys_are_both_good(bench: Bench) -> None:
    bench.keys = [b"first", KEY]
    assert (await bench.send("DELETE", f"{CONNECTIONS}/cc-1{VERSION}")).status == 204


async def test_the_name_of_the_endpoint_may_be_signed(bench: Bench) -> None:
    """Behind a proxy the Host header is another than the one that the client signed."""
    target = f"{CONNECTIONS}/cc-1{VERSION}"
    headers = sign_hmac("DELETE", target, "localhost:1", http_date(NOW), b"", KEY)
    assert (await bench.send("DELETE", target, b"", headers, sign=False)).status == 204


async def test_bearer_tokens_without_an_issuer_name_the_setting(bench: Bench) -> None:
    response = await bench.send("POST", CONNECTIONS + VERSION, CREATE, {"Authorization": "Bearer a.b.c"}, sign=False)
    assert "jwks_url in [tokens]" in await error_in(response, 401, "7501")
    assert bench.node.asked == []


async def test_paths_and_methods(bench: Bench) -> None:
    for path in ("/calling/nothing", f"{CONNECTIONS}/", f"{CONNECTIONS}/a/b/c", f"{CONNECTIONS}//participants"):
        assert path in await error_in(await bench.send("GET", path + VERSION), 404, "8522")
    for path in ("/", "/favicon.ico", "/eventgrid"):
        await error_in(await bench.send("GET", path, sign=False), 404, "8522")
    assert (await bench.send("POST", f"{CONNECTIONS}/cc-1:unheardOf{VERSION}")).status == 404
    response = await bench.send("PUT", f"{CONNECTIONS}/cc-1{VERSION}")
    assert "GET, DELETE" in await error_in(response, 405, "8520")
    assert response.headers["Allow"] == "GET, DELETE"
    assert (await bench.send("HEAD", f"{CONNECTIONS}/cc-1{VERSION}")).status == 405
    await error_in(await bench.send("GET", "/calling/nothing", sign=False), 401, "7509")
    assert bench.node.asked == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object, not an array"),
        (b"\xff", "not valid JSON"),
        (b"", "targets: is required"),
        ({**CREATE, "callbackUri": "nowhere"}, "callbackUri: 'nowhere'"),
        ({**CREATE, "targets": [{"rawId": 1}]}, "targets[0].rawId: must be a string"),
        (
            {**CREATE, "mediaStreamingOptions": {"transportType": "websocket", "audioChannelType": "mixed",
                                                 "audioFormat": "pcm8K"}},
            "mediaStreamingOptions.audioFormat: 'pcm8K' is not one of pcm16KMono, pcm24KMono",
        ),
    ],
)  # fmt: skip
async def test_bad_bodies_name_the_field(bench: Bench, body: bytes | dict[str, Any], text: str) -> None:
    assert text in await error_in(await bench.post(CONNECTIONS, body), 400, "8523")
    assert bench.node.asked == []
    assert [note[1:3] for note in bench.node.notes] == [("CreateCall", 400)]


@pytest.mark.parametrize(
    ("error", "status", "code", "text"),
    [
        (CallError("call_not_found"), 404, "8522", "Call not found."),
        (CallError("context_spent"), 409, "8519", "already answered"),
        (CallError("call_not_established", "It rings."), 400, "8501", "It rings."),
        (CallError("call_terminated"), 400, "8528", "over"),
        (CallError("media_state"), 400, "8500", "media"),
        (CallError("streaming_not_configured"), 405, "8522", "mediaStreamingOptions"),
        (CallError("throttled"), 429, "8516", "later"),
        (CallError("gave_up"), 487, "0", "gave up"),
        (CallError("far_end_left"), 500, "5003", "left"),
        (WireError("targets[0]: no", "targets[0]"), 400, "8523", "targets[0]: no"),
        (CallError("no such row"), 500, "9999", "log"),
        (RuntimeError("secret"), 500, "9999", "log"),
    ],
)
async def test_errors_of_the_node(
    bench: Bench, error: Exception, status: int, code: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.node.fail = error
    response = await bench.post(CONNECTIONS, CREATE)
    message = await error_in(response, status, code)
    assert text in message and "secret" not in message
    assert response.headers.get("Retry-After") == ("1" if status == 429 else None)
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert bool(logged) is (code == "9999")
    bench.node.fail = None
    assert (await bench.post(CONNECTIONS, CREATE)).status == 201


async def test_a_trace_that_fails_does_not_fail_the_request(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*note: Any) -> None:
        raise RuntimeError("trace")

    monkeypatch.setattr(bench.node, "note_request", broken)
    assert (await bench.post(CONNECTIONS, CREATE)).status == 201
    assert "could not be traced" in caplog.text


REPEAT = {"Repeatability-Request-ID": "id-1", "Repeatability-First-Sent": "Sun, 22 Nov 2026 12:08:00 GMT"}


async def test_a_repeated_id_is_not_done_twice_and_shows_the_state_of_now(bench: Bench) -> None:
    first = await bench.post(CONNECTIONS, CREATE, REPEAT)
    assert (first.status, first.headers["Repeatability-Result"]) == (201, "accepted")
    bench.node.calls["cc-1"] = msgspec.structs.replace(
        bench.node.calls["cc-1"], call_connection_state="connected", server_call_id="s=="
    )
    bench.now += 30
    again = await bench.post(CONNECTIONS, CREATE, REPEAT)
    assert (again.status, again.headers["Repeatability-Result"]) == (201, "accepted")
    body = await again.json()
    assert (body["callConnectionId"], body["callConnectionState"], body["serverCallId"]) == ("cc-1", "connected", "s==")
    assert again.headers["X-Microsoft-Skype-Chain-ID"] == "chain-1"
    del bench.node.calls["cc-1"]
    over = await bench.post(CONNECTIONS, CREATE, REPEAT)
    assert (over.status, (await over.json())["callConnectionState"]) == (201, "disconnected")
    assert bench.node.names.count("create") == 1
    assert bench.node.notes[-1] == ("cc-1", "CreateCall", 201, {"repeated": True})
    assert (await bench.post(CONNECTIONS, CREATE)).headers.get("Repeatability-Result") is None
    assert bench.node.names.count("create") == 2


async def test_concurrent_duplicates_are_done_once(bench: Bench) -> None:
    replies = await asyncio.gather(*(bench.post(CONNECTIONS, CREATE, REPEAT) for _ in range(20)))
    assert {reply.status for reply in replies} == {201}
    assert {(await reply.json())["callConnectionId"] for reply in replies} == {"cc-1"}
    assert bench.node.names.count("create") == 1


async def test_an_empty_answer_is_repeated_too(bench: Bench) -> None:
    for _ in range(3):
        assert (await bench.post(f"{CONNECTIONS}/cc-1:terminate", headers=REPEAT)).status == 204
    assert bench.node.asked == [("terminate", "cc-1")]


async def test_one_id_for_two_things_is_refused(bench: Bench) -> None:
    assert (await bench.post(f"{CONNECTIONS}/cc-1:terminate", headers=REPEAT)).status == 204
    for path in (f"{CONNECTIONS}/cc-2:terminate", CONNECTIONS):
        assert "TerminateCall" in await error_in(await bench.post(path, CREATE, REPEAT), 400, "8523")
    assert bench.node.asked == [("terminate", "cc-1")]


async def test_a_failure_may_be_tried_again_with_the_same_id(bench: Bench) -> None:
    bench.node.fail = CallError("throttled")
    assert (await bench.post(CONNECTIONS, CREATE, REPEAT)).status == 429
    bench.node.fail = None
    assert (await bench.post(CONNECTIONS, CREATE, REPEAT)).status == 201
    assert bench.node.names == ["create", "create"]


async def test_ids_are_forgotten_after_an_hour(bench: Bench) -> None:
    path = f"{CONNECTIONS}/cc-1:terminate"
    for later, times in ((0, 1), (3599, 1), (3601, 2)):
        bench.now = NOW + later
        await bench.post(path, headers=REPEAT)
        assert len(bench.node.asked) == times


async def test_only_so_many_ids_are_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "REPEAT_LIMIT", 2)
    path = f"{CONNECTIONS}/cc-1:terminate"
    for request_id in ("a", "b", "c", "c", "b", "a"):
        assert (await bench.post(path, headers={"Repeatability-Request-ID": request_id})).status == 204
    assert len(bench.node.asked) == 4


async def test_operations_that_are_not_repeatable_ignore_the_id(bench: Bench) -> None:
    for _ in range(2):
        response = await bench.post(f"{CONNECTIONS}/cc-1:startMediaStreaming", {}, REPEAT)
        assert (response.status, response.headers.get("Repeatability-Result")) == (202, None)
    assert len(bench.node.asked) == 2


async def test_bodies_over_a_mebibyte(bench: Bench) -> None:
    just = json.dumps({**CREATE, "operationContext": ""}).encode()
    full = just[:-2] + b"x" * (1024 * 1024 - len(just)) + just[-2:]
    assert len(full) == 1024 * 1024
    assert (await bench.post(CONNECTIONS, full)).status == 201
    message = await error_in(await bench.post(CONNECTIONS, full + b" "), 413, "8523")
    assert "1048576" in message
    assert bench.node.names == ["create"]


async def raw(bench: Bench, data: bytes) -> bytes:
    """What comes back for these bytes, until the server closes or the answer is whole."""
    reader, writer = await asyncio.open_connection(bench.server.host, bench.server.port)
    try:
        writer.write(data)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        return head + await asyncio.wait_for(reader.readexactly(length), 5)
    finally:
        writer.close()
        await writer.wait_closed()


def head_of(bench: Bench, target: str, **headers: str) -> bytes:
    signed = sign_hmac("POST", target.removeprefix(f"http://{bench.host}"), bench.host, http_date(NOW), b"{}", KEY)
    lines = [f"POST {target} HTTP/1.1", f"Host: {bench.host}"]
    lines += [f"{name}: {value}" for name, value in {**signed, **headers}.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def test_chunked_bodies_are_bounded_too(bench: Bench) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = await raw(bench, head_of(bench, CONNECTIONS + VERSION, **{"Transfer-Encoding": "chunked"}) + chunk * 17)
    assert answer.startswith(b"HTTP/1.1 413 ") and b'"8523"' in answer


async def test_a_body_that_never_comes_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "BODY_TIMEOUT_S", 0.05)
    answer = await raw(bench, head_of(bench, CONNECTIONS + VERSION, **{"Content-Length": "10"}) + b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_cannot_be_unpacked(bench: Bench) -> None:
    extra = {"Content-Length": "4", "Content-Encoding": "gzip"}
    answer = await raw(bench, head_of(bench, CONNECTIONS + VERSION, **extra) + b"nope")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert bench.node.asked == []


async def test_a_target_in_absolute_form(bench: Bench) -> None:
    target = f"http://{bench.host}{CONNECTIONS}/cc-1:stopMediaStreaming{VERSION}"
    assert (await raw(bench, head_of(bench, target, **{"Content-Length": "2"}) + b"{}")).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize("client_id", ["", "x" * 257, "caf\u00e9"])
async def test_a_client_request_id_that_cannot_be_echoed_is_left_out(bench: Bench, client_id: str) -> None:
    response = await bench.post(CONNECTIONS, CREATE, {"x-ms-client-request-id": client_id})
    assert response.status == 201
    assert "x-ms-client-request-id" not in response.headers


async def test_the_client_request_id_is_echoed_in_errors_too(bench: Bench) -> None:
    response = await bench.send("POST", CONNECTIONS, b"", {"x-ms-client-request-id": "abc-1"}, sign=False)
    assert (response.status, response.headers["x-ms-client-request-id"]) == (401, "abc-1")


async def test_key_and_openid_pages_need_no_signature() -> None:
    key = generate_private_key(public_exponent=65537, key_size=2048)
    async with serving(TokenIssuer(key, "https://issuer.example", "aud", "kid-1")) as served:
        keys = await served.send("GET", "/calling/keys", sign=False)
        assert (await keys.json())["keys"][0]["kid"] == "kid-1"
        page = await served.send("GET", "/calling/.well-known/acsopenidconfiguration", sign=False)
        assert page.content_type == "application/json"
        found = await page.json()
        assert (found["issuer"], found["jwks_uri"]) == ("https://issuer.example", "https://localhost:1/calling/keys")


async def test_without_an_issuer_there_are_no_pages(bench: Bench) -> None:
    for path in ("/calling/keys", "/calling/.well-known/acsopenidconfiguration"):
        assert (await bench.send("GET", path, sign=False)).status == 404


async def test_a_trace_is_told_of_requests_with_their_bodies_and_answers(bench: Bench) -> None:
    await bench.post(CONNECTIONS, CREATE)
    exchange = bench.node.exchanges[-1]
    assert exchange is not None and exchange.trusted
    kept = exchange.kept()
    assert (kept["method"], kept["path"].partition("?")[0]) == ("POST", CONNECTIONS) and kept["ms"] >= 0
    assert json.loads(kept["requestBody"].data) == CREATE
    assert json.loads(kept["responseBody"].data)["callConnectionId"] == "cc-1"


@pytest.mark.parametrize(("path", "told"), [(f"{CONNECTIONS}/cc-1:play", ["cc-1"]), (CONNECTIONS, []), ("/x", [])])
async def test_a_request_of_nobody_is_told_of_only_when_its_path_names_a_call(
    bench: Bench, path: str, told: list[str]
) -> None:
    before = len(bench.node.notes)
    response = await bench.client.post(f"{path}?api-version=2026-03-12", data=b"{}")
    assert response.status in (401, 404)
    assert [note[0] for note in bench.node.notes[before:]] == told
    assert not [exchange for exchange in bench.node.exchanges[before:] if exchange is None or exchange.trusted]
