"""A running node as others meet it: names, proxies, limits, targets that are not public, keys that change."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from cryptography import x509
from tests.live import TestApp, until
from tests.service.config_text import HEAD, KEY, OTHER_KEY, TOKEN, written
from tests.service.test_trunks import ANNA, KEY1, NUMBER, USER, world
from tests.sip_phone import BYE, TestPhone

from offhook.errors import ConfigError
from offhook.service.node import Node
from offhook.service.process import LiveNode
from offhook.service.program import reload
from offhook.service.serve_config import read
from offhook.wire.identifiers import parse_raw_id
from offhook.wire.models import CreateCallRequest, MediaStreamingOptions
from offhook.wire.signing import http_date, sign_hmac

VERSION = "2026-03-12"
NAME = '[[number]]\nnumber = "support"\nwebhooks = ["app"]\n'
OTHER = '[[webhook]]\nname = "other"\nurl = "{url}"\n'


async def get(node: LiveNode, path: str, key: str = "", host: str = "", sent: str = "") -> tuple[int, str]:
    """GET, signed for a host, with another Host header as a proxy may send it."""
    base = node.describe()["httpEndpoint"]
    host = host or base.partition("//")[2]
    signed = sign_hmac("GET", path, host, http_date(time.time()), b"", base64.b64decode(key)) if key else {}
    async with (
        aiohttp.ClientSession() as session,
        session.get(base + path, headers={**signed, "Host": sent or host}) as response,
    ):
        return response.status, await response.text()


@contextlib.asynccontextmanager
async def node_of(path: Path) -> AsyncIterator[LiveNode]:
    node = LiveNode(read(path, {}), lambda event: None)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


# names --------------------------------------------------------------------------------------------------------------


async def test_a_name_that_is_called_has_a_rule_and_webhooks_of_its_own(tmp_path: Path) -> None:
    other = TestApp()
    async with other.running():
        more = NUMBER + NAME + OTHER.format(url=other.webhook)
        async with world(tmp_path, more) as w:
            await until(lambda: other.validations, "validation")
            w.carrier.call(w.sip, "Support")
            await w.app.invited()
            stranger = w.carrier.call(w.sip, "sales")
            await until(lambda: stranger.over, "a name without a rule is refused")
            assert len(w.app.incoming) == 1 and not other.incoming


async def test_webhooks_are_chosen_by_the_names_of_users(tmp_path: Path) -> None:
    to, from_, phone = TestApp(), TestApp(), TestPhone("anna", account=ANNA)
    async with to.running(), from_.running(), phone.running():
        more = (
            OTHER.format(url=to.webhook) + 'to = ["support"]\n'
            '[[webhook]]\nname = "from"\nurl = "' + from_.webhook + '"\nfrom = ["anna"]\n'
        )
        async with world(tmp_path, more + USER) as w:
            await until(lambda: to.validations and from_.validations, "validation")
            w.carrier.call(w.sip, "support")
            await to.invited()
            phone.call(w.sip, "+15550300001")
            await from_.invited()
            await w.app.invited(2)
            assert from_.incoming[0]["data"]["from"]["rawId"] == "4:+15550100001", "she calls under her number"
            assert len(to.incoming) == len(from_.incoming) == 1
            for line in phone.lines:
                line.leg.hang_up(BYE)


# proxies and certificates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/console/api/status", f"/calling/callConnections/none?api-version={VERSION}"])
async def test_what_is_signed_for_the_public_host_passes_a_proxy_that_changes_it(tmp_path: Path, path: str) -> None:
    async with world(tmp_path, node='public_url = "https://calls.example.com"') as w:
        inside = w.node.describe()["httpEndpoint"].partition("//")[2]
        assert (await get(w.node, path, KEY1, "calls.example.com", inside))[0] in (200, 404)
        assert (await get(w.node, path, KEY1, "calls.example.com"))[0] in (200, 404)
        assert (await get(w.node, path, KEY1, "evil.example.com", inside))[0] == 401


async def test_the_certificate_names_what_clients_and_phones_call_the_node(tmp_path: Path) -> None:
    text = (
        HEAD + '[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\npublic_url = "https://calls.example.com"\n'
        f'[sip]\nhost = "127.0.0.1"\nport = 0\nadvertise = "192.0.2.7"\n[console]\ntoken = "{TOKEN}"\n'
    )
    node = LiveNode(read(written(tmp_path, text), {}), lambda event: None)
    cert = x509.load_pem_x509_certificate(node.state.server_file.read_bytes())
    held = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "calls.example.com" in held.get_values_for_type(x509.DNSName)
    assert "192.0.2.7" in map(str, held.get_values_for_type(x509.IPAddress))
    assert node.describe()["tlsCertificate"] is None
    assert node.describe()["consoleUrl"] == "https://calls.example.com/console/", "as browsers reach it"


# limits -------------------------------------------------------------------------------------------------------------


def request(app: TestApp, **more: Any) -> CreateCallRequest:
    return CreateCallRequest(
        targets=(parse_raw_id("4:+15557770001"),),
        callback_uri=app.callback,
        source_caller_id_number=parse_raw_id("4:+15550100009"),
        **more,
    )


async def create_over_rest(w: Any) -> tuple[int, str]:
    base = w.node.describe()["httpEndpoint"]
    target = f"/calling/callConnections?api-version={VERSION}"
    body = (
        b'{"targets": [{"kind": "phoneNumber", "phoneNumber": {"value": "+15557770001"}}], "callbackUri": "'
        + w.app.callback.encode()
        + b'"}'
    )
    signed = sign_hmac("POST", target, base.partition("//")[2], http_date(time.time()), body, base64.b64decode(KEY1))
    headers = {"Content-Type": "application/json", **signed}
    async with aiohttp.ClientSession() as session, session.post(base + target, data=body, headers=headers) as response:
        return response.status, response.headers.get("Retry-After", "")


async def test_a_node_takes_so_many_calls_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, node="most_calls = 1") as w:
        line = w.carrier.call(w.sip, "+15550100002")
        await w.app.invited()
        assert await create_over_rest(w) == (429, "1")
        second = w.carrier.call(w.sip, "+15550100003")
        await until(lambda: second.over, "a refusal")
        assert not line.over and len(w.node.node.calls) == 1
        line.leg.hang_up(BYE)
        await until(lambda: not w.node.node.calls, "room")
        w.carrier.call(w.sip, "+15550100004")
        await w.app.invited(2)


async def test_a_node_that_has_no_time_says_so_and_takes_no_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as w:
        monkeypatch.setattr(Node, "overloaded", property(lambda node: True))
        assert await get(w.node, "/healthz") == (503, "overloaded\n")
        assert (await create_over_rest(w))[0] == 429
        line = w.carrier.call(w.sip)
        await until(lambda: line.over, "a refusal")
        monkeypatch.undo()
        assert await get(w.node, "/healthz") == (200, "ok\n")


INVITE = (
    "INVITE sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};rport;branch=z9hG4bK{n}\r\n"
    "From: <sip:scanner@x>;tag=1\r\nTo: <sip:x@x>\r\nCall-ID: c{n}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)


class _Scanner(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answers = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.answers += 1


@pytest.mark.parametrize(("rate", "answered"), [(2, 2), (0, 40)])
async def test_a_stranger_is_answered_so_often_and_no_more(tmp_path: Path, rate: int, answered: int) -> None:
    text = (
        HEAD + '[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\n'
        f'[sip]\nhost = "127.0.0.1"\nport = 0\nrequests_per_second = {rate}\n' + USER
    )
    async with node_of(written(tmp_path, text)) as node:
        assert node.phones is not None
        loop, counters = asyncio.get_running_loop(), node.phones.trunk.endpoint.counters
        transport, scanner = await loop.create_datagram_endpoint(_Scanner, ("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        now = node.phones.trunk.now()
        node.phones.trunk.now = lambda: now  # type: ignore[method-assign]  # no more tokens come in meanwhile
        for n in range(40):
            data = INVITE.format(port=port, n=n).encode()
            transport.sendto(data, ("127.0.0.1", node.phones.trunk.ports["udp"]))
        await until(lambda: scanner.answers == answered and counters.unheard == 40 - answered, "40 requests")
        transport.close()


# targets ------------------------------------------------------------------------------------------------------------


async def test_callbacks_and_media_go_to_no_private_address(tmp_path: Path) -> None:
    app, elsewhere, carrier = TestApp(), list[str](), TestPhone("15557770001", "127.0.0.2")

    async def hit(request: web.Request) -> web.Response:
        elsewhere.append(request.path)
        return web.Response()

    private = web.Application()
    private.router.add_route("*", "/{path:.*}", hit)
    runner = web.AppRunner(private)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.3", 0)
    await site.start()
    there = f"127.0.0.3:{runner.addresses[0][1]}"
    async with app.running(), carrier.running():
        text = (
            HEAD + '[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\nallow_targets = ["127.0.0.1"]\n'
            '[sip]\nhost = "127.0.0.1"\nport = 0\ndestinations = ["+1555*"]\n[[trunk]]\nname = "carrier"\n'
            f'host = "127.0.0.2"\nport = {carrier.trunk.ports["udp"]}\nprefixes = ["*"]\n'
        )
        async with node_of(written(tmp_path, text)) as node:
            assert node.phones is not None
            await until(lambda: node.phones and all(gateway.peers for gateway in node.phones.gateways), "an address")
            media = MediaStreamingOptions(audio_channel_type="mixed", transport_url=f"ws://{there}/ws", start=True)
            node.node.create(request(app, media_streaming_options=media), VERSION)
            failed = await app.event("MediaStreamingFailed")
            assert "allow_targets" in str(failed["resultInformation"])
            deaf = msgspec.structs.replace(request(app), callback_uri=f"http://{there}/callbacks")
            properties = node.node.create(deaf, VERSION)
            trace = node.node.traces.find(str(properties.call_connection_id))
            assert trace is not None
            await until(lambda: "allow_targets" in str(trace.page()), "the refusal in the call's trace")
    await runner.cleanup()
    assert not elsewhere


async def test_a_webhook_that_redirects_to_a_private_address_is_not_followed(tmp_path: Path) -> None:
    visits: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        visits.append(request.path)
        return web.Response(status=307, headers={"Location": "/private"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", redirect)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    text = (
        HEAD + '[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\nallow_targets = ["127.0.0.1"]\n'
        f'[[webhook]]\nurl = "{url}"\n'
    )
    async with node_of(written(tmp_path, text)) as node:
        await until(lambda: "307" in node.describe()["incoming"][0]["reason"], "the reason")
    await runner.cleanup()
    assert set(visits) == {"/events"}


# keys ---------------------------------------------------------------------------------------------------------------


async def test_keys_are_read_anew_and_a_file_with_mistakes_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rest = '[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\n'
    path = written(tmp_path, HEAD + rest)
    config, events, status = read(path, {}), list[dict[str, Any]](), "/console/api/status"
    node = LiveNode(config, events.append)
    await node.start()
    try:
        assert [(await get(node, status, key))[0] for key in (KEY, OTHER_KEY)] == [200, 401]
        written(tmp_path, HEAD.replace(KEY, "nonsense") + rest)
        await reload(node, config.again)
        assert "[resource] key1" in caplog.text and (await get(node, status, KEY))[0] == 200
        written(tmp_path, HEAD.replace(KEY, OTHER_KEY) + rest)
        await reload(node, config.again)
        assert [(await get(node, status, key))[0] for key in (KEY, OTHER_KEY)] == [401, 200]
        assert OTHER_KEY in node.describe()["connectionString"]
        assert events[-1] == {"event": "node", "name": "reloaded", "keys": 1}
        assert "wait for the next start" not in caplog.text
        written(tmp_path, HEAD.replace(KEY, OTHER_KEY) + rest + "most_calls = 3\n")
        await reload(node, config.again)
        assert "wait for the next start" in caplog.text
    finally:
        await node.stop()


async def test_a_port_of_sip_that_is_taken_is_named_as_in_the_file(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    taken, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    port = taken.get_extra_info("sockname")[1]
    text = (
        HEAD + f'[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\n[sip]\nhost = "127.0.0.1"\nport = {port}\n'
    )
    config = read(written(tmp_path, text), {})
    node = LiveNode(config, lambda event: None)
    with pytest.raises(ConfigError) as caught:
        await node.start()
    await node.stop()
    taken.close()
    told = config.said(str(caught.value))
    assert str(port) in told and "[sip] port" in told and "--" not in told
