"""Trunks as a node uses them: registered with, looked up, reached by name over TLS, and who is shown to them."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.live import TestApp, until
from tests.service.test_trunks import FILE, KEY1, KEY2, USER, VERSION, World, status, world
from tests.sip_phone import BYE, TestPhone
from tests.tls import Authority

from offhook.errors import LegError
from offhook.legs.resolver import Resolver
from offhook.service import gateways, phones
from offhook.service.process import LiveNode
from offhook.service.serve_config import read
from offhook.sip.auth import Account
from offhook.sip.grammar import parse_address
from offhook.sip.transaction import Peer
from offhook.wire.identifiers import parse_raw_id
from offhook.wire.models import CreateCallRequest, RedirectCallRequest, decode_request

REGISTERING = """
[[trunk]]
name = "carrier"
host = "{host}"
port = {port}
transport = "{transport}"
username = "account-17"
password = "carrier pw"
register = true
prefixes = ["+1555*"]
"""


@contextlib.asynccontextmanager
async def node(
    folder: Path, app: TestApp, carrier: TestPhone, more: str, extra: str = ""
) -> AsyncIterator[tuple[World, list[dict[str, Any]]]]:
    """A node of a file with one trunk, and what it tells."""
    told: list[dict[str, Any]] = []
    (folder / "offhook.toml").write_text(FILE.format(key1=KEY1, key2=KEY2, webhook=app.webhook, more=more, node=extra))
    live = LiveNode(read(folder / "offhook.toml", {}), told.append)
    await live.start()
    try:
        await until(lambda: app.validations, "validation")
        yield World(live, app, carrier), told
        for line in carrier.lines:
            line.leg.hang_up(BYE)
        await until(lambda: not live.node.calls, "nothing is left of any call")
        assert live.phones is not None and not live.phones.table.live
    finally:
        await live.stop()


@contextlib.asynccontextmanager
async def registering(folder: Path, more: str = "") -> AsyncIterator[tuple[World, list[dict[str, Any]]]]:
    app, carrier = TestApp(), TestPhone("15557770001", "127.0.0.2")
    carrier.registers = 200
    async with app.running(), carrier.running():
        trunk = REGISTERING.format(host="127.0.0.2", port=carrier.trunk.ports["udp"], transport="udp")
        async with node(folder, app, carrier, trunk + more) as (w, told):
            await until(lambda: carrier.contacts, "the registration")
            yield w, told


def gateway(w: World) -> gateways.Gateway:
    assert w.node.phones is not None
    (found,) = w.node.phones.gateways
    return found


async def test_a_registrar_calls_the_registered_contact_and_the_number_is_not_lost(tmp_path: Path) -> None:
    async with registering(tmp_path, '[[number]]\nnumber = "+15550100*"\n') as (w, _):
        uri = parse_address(w.carrier.contacts[0]).uri
        assert uri.user == "account-17"
        w.carrier.call(w.sip, "+15550100002", uri=str(uri))
        invited = await w.app.invited()
        assert invited["to"]["rawId"] == "4:+15550100002", "without allow: calls come from where we registered"
        asserted = [("P-Called-Party-ID", "<sip:+15550100003@carrier>")]
        w.carrier.call(w.sip, "account-17", uri=str(uri), headers=asserted)
        assert (await w.app.invited(2))["to"]["rawId"] == "4:+15550100003"


async def test_who_is_no_trunk_gets_no_answer_and_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    stranger = TestPhone("15551112222", "127.0.0.3")
    async with registering(tmp_path) as (w, _), stranger.running():
        line = stranger.call(w.sip, "+15550100002")
        await until(lambda: "from 127.0.0.3" in caplog.text, "a line")
        assert not line.events and not w.app.incoming and caplog.text.count("from 127.0.0.3") == 1


async def test_a_failed_password_is_a_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    phone = TestPhone("anna", account=Account("anna", "guess"))
    async with world(tmp_path, USER) as w, phone.running():
        assert await phone.enrol(w.sip) == 401
        assert "failed password for REGISTER, request from 127.0.0.1" in caplog.text and "guess" not in caplog.text


async def test_a_scanner_gets_no_answer_to_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones, "_loopback", lambda host: False)
    scanner = TestPhone("x", "127.0.0.3")
    async with world(tmp_path, USER) as w, scanner.running():
        assert w.node.phones is not None
        node, answered = w.node.phones.trunk.endpoint.counters, w.carrier.trunk.endpoint.counters
        for phone in (scanner, w.carrier):
            heard = node.requests
            request = (
                f"OPTIONS sip:{phone.host} SIP/2.0\r\nVia: SIP/2.0/UDP {phone.host}:{phone.trunk.ports['udp']};"
                f"branch=z9hG4bK{phone.user}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: {phone.user}\r\n"
                "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            )
            phone.trunk._network.send(request.encode(), Peer("udp", "127.0.0.1", w.sip))
            await until(lambda heard=heard: node.requests > heard, "it is read")  # type: ignore[misc]
        await until(lambda: answered.responses, "an answer for the trunk")
        assert not scanner.trunk.endpoint.counters.responses


async def test_a_registrar_that_is_gone_is_followed_by_the_next_place(tmp_path: Path) -> None:
    second = TestPhone("15557770002", "127.0.0.3")
    second.registers = 200
    async with registering(tmp_path) as (w, told), second.running():
        trunk, there = gateway(w), Peer("udp", "127.0.0.3", second.trunk.ports["udp"])
        assert trunk.registration is not None
        await until(lambda: trunk.registration.state.registered, "registered")  # type: ignore[union-attr]
        trunk._found([*trunk.peers, there])
        assert not second.contacts, "who is registered stays"
        w.carrier.registers = 503
        trunk.registration.start(w.node.phones.trunk.now())  # type: ignore[union-attr]
        w.node.phones.trunk.pump()  # type: ignore[union-attr]
        await until(lambda: second.contacts, "the next place")
        await until(lambda: trunk.registration.state.registered, "registered again")  # type: ignore[union-attr]
        names = [event["name"] for event in told if event["event"] == "trunk"]
        assert names == ["registered", "not registered", "registered"]
        w.create("+15557770009")
        await w.app.event("CallConnected")
        assert len(second.lines) == 1 and not w.carrier.invites, "calls go where we are registered"
        second.lines[0].leg.hang_up(BYE)


async def test_a_place_that_leaves_dns_is_left_and_its_calls_go_on(tmp_path: Path) -> None:
    second = TestPhone("15557770002", "127.0.0.3")
    second.registers = 200
    async with registering(tmp_path) as (w, _), second.running():
        w.create("+15557770009")
        await w.app.event("CallConnected")
        gateway(w)._found([Peer("udp", "127.0.0.3", second.trunk.ports["udp"])])
        await until(lambda: second.contacts, "registered at the new place")
        w.carrier.lines[0].leg.hang_up(BYE)
        await w.app.event("CallDisconnected")
        line = w.carrier.call(w.sip, "+15550100002")
        again = second.call(w.sip, "+15550100002")
        await w.app.invited()
        await until(lambda: len(w.app.incoming) == 1 and not line.events, "a new call is taken from the new place only")
        again.leg.hang_up(BYE)


async def test_a_look_up_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "LOOK_SOON", 0.01)
    found, fails = Resolver.locate, [LegError("unreachable", "not in DNS"), UnicodeError("label empty"), KeyError("x")]

    async def locate(self: Resolver, host: str, port: int = 0, transport: str = "") -> list[Peer]:
        if fails:
            raise fails.pop(0)
        return await found(self, host, port, transport)

    monkeypatch.setattr(Resolver, "locate", locate)
    async with registering(tmp_path) as (w, _):
        assert gateway(w).peers and not fails


async def test_a_carrier_by_name_over_tls(tmp_path: Path) -> None:
    """It registers, is called and calls; its certificate shows the name in `host` alone."""
    authority = Authority(tmp_path)
    app, carrier = TestApp(), TestPhone("15557770001")
    carrier.registers = 200
    async with app.running(), carrier.running((authority.server("localhost"), authority.client())):
        trunk = REGISTERING.format(host="localhost", port=carrier.trunk.ports["tls"], transport="tls")
        async with node(tmp_path, app, carrier, trunk, f'trust = ["{authority.certificate}"]') as (w, _):
            await until(lambda: carrier.contacts, "the registration")
            assert "transport=tls" in carrier.contacts[0]
            w.create("+15557770009")
            await app.event("CallConnected")
            assert b"RTP/SAVP" in carrier.invites[0].body


async def test_a_carrier_with_another_name_is_refused_and_the_app_reads_why(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    app, carrier = TestApp(), TestPhone("15557770001")
    async with app.running(), carrier.running((authority.server("other.example"), authority.client())):
        trunk = REGISTERING.format(host="localhost", port=carrier.trunk.ports["tls"], transport="tls")
        async with node(tmp_path, app, carrier, trunk, f'trust = ["{authority.certificate}"]') as (w, told):
            await until(lambda: any(event["event"] == "trunk" for event in told), "the failed registration")
            (said,) = [event["reason"] for event in told if event["event"] == "trunk"][:1]
            assert "not valid for 'localhost'" in said
            w.create("+15557770009")
            failed = await app.event("CreateCallFailed")
            assert "not valid for 'localhost'" in failed["resultInformation"]["message"]


# who is shown, and what goes along ---------------------------------------------------------------------------------

TRUNK = """
[[trunk]]
name = "second"
host = "127.0.0.2"
port = {port}
prefixes = ["+15558*"]
"""


@pytest.mark.parametrize(
    ("caller", "number", "sender", "private"),
    [
        (None, "+15557770001", "+15550100000", False),
        ("4:+15550100009", "+15557770001", "+15550100000", False),
        ("4:anonymous", "+15557770001", "anonymous", True),
    ],
)
async def test_the_caller_id_of_a_trunk_wins(
    tmp_path: Path, caller: str | None, number: str, sender: str, private: bool
) -> None:
    async with world(tmp_path) as w:
        source = None if caller is None else parse_raw_id(caller)
        request = CreateCallRequest(
            targets=(parse_raw_id(f"4:{number}"),), callback_uri=w.app.callback, source_caller_id_number=source
        )
        w.node.node.create(request, VERSION)
        await w.app.event("CallConnected")
        (invite,) = w.carrier.invites
        assert f"sip:{sender}@" in (invite.headers.get_first("from") or "")
        assert (invite.headers.get_first("privacy") == "id") is private
        assert invite.headers.get_first("p-asserted-identity") == "<sip:+15550100000@127.0.0.1>"


async def test_an_id_of_ours_is_shown_to_nobody(tmp_path: Path) -> None:
    """A user without a number is redirected to a trunk without a caller id."""
    bert = TestPhone("bert", account=Account("bert", "correct horse"))
    app, carrier = TestApp(), TestPhone("15557770001", "127.0.0.2")
    async with app.running(), carrier.running(), bert.running():
        more = TRUNK.format(port=carrier.trunk.ports["udp"]) + '[[user]]\nname = "bert"\npassword = "correct horse"\n'
        async with node(tmp_path, app, carrier, more) as (w, _):
            headers = [("User-To-User", "56a390;encoding=hex"), ("X-MS-Custom-Order", "7")]
            line = bert.call(w.sip, "+15550100002", headers=headers)
            context = (await app.invited())["incomingCallContext"]
            target = parse_raw_id("4:+15558880001")
            w.node.node.redirect(RedirectCallRequest(incoming_call_context=context, target=target))
            await bert.answered(line)
            (invite,) = carrier.invites
            assert "acs" not in str(invite.headers.get("from")) + str(invite.headers.get("p-asserted-identity"))
            assert "sip:anonymous@" in (invite.headers.get_first("from") or "")
            assert invite.headers.get_first("user-to-user") == "56a390;encoding=hex", "what came goes on"
            assert invite.headers.get_first("x-ms-custom-order") == "7"
            line.leg.hang_up(BYE)
            await until(lambda: carrier.lines[0].over, "BYE")


async def test_a_withheld_caller_is_anonymous_to_the_app(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        hidden = [("Privacy", "id"), ("P-Asserted-Identity", "<sip:+15558887777@x>")]
        w.carrier.call(w.sip, "+15550100002", headers=hidden)
        assert (await w.app.invited())["from"]["rawId"] == "4:anonymous"


async def test_a_redirect_to_a_number_of_ours_is_announced(tmp_path: Path) -> None:
    async with world(tmp_path, '[[number]]\nnumber = "+15550100*"\n') as w:
        line = w.carrier.call(w.sip, "+15550100002")
        context = (await w.app.invited())["incomingCallContext"]
        target = parse_raw_id("4:+15550100003")
        w.node.node.redirect(RedirectCallRequest(incoming_call_context=context, target=target))
        second = await w.app.invited(2)
        assert second["to"]["rawId"] == "4:+15550100003" and not line.over and not w.carrier.invites


async def test_a_trunk_without_an_address_is_followed_by_the_next(tmp_path: Path) -> None:
    more = '[[trunk]]\nname = "lost"\nhost = "no-such-name.invalid"\nprefixes = ["+155577*"]\n'
    app, carrier = TestApp(), TestPhone("15557770001", "127.0.0.2")
    async with app.running(), carrier.running():
        more += TRUNK.format(port=carrier.trunk.ports["udp"]).replace("+15558*", "+1555*")
        async with node(tmp_path, app, carrier, more) as (w, _):
            w.create("+15557770001")
            await app.event("CallConnected")
            assert len(carrier.lines) == 1


async def test_a_number_has_its_limits_both_ways(tmp_path: Path) -> None:
    async with world(tmp_path, '[[number]]\nnumber = "+15550100009"\ncalls = 1\n') as w:
        w.create("+15557770001")
        await w.app.event("CallConnected")
        line = w.carrier.call(w.sip, "+15550100009")
        await until(lambda: line.over, "a refusal")
        assert status(line) == "busy"
        w.create("+15557770002")
        failed = await w.app.event("CreateCallFailed")
        assert failed["resultInformation"]["code"] == 429 and "+15550100009" in failed["resultInformation"]["message"]


async def test_custom_headers_of_a_new_call_reach_the_phone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        headers = {"User-To-User": "56a390;encoding=hex", "X-MS-Custom-Order": "7", "X-MS-Custom-X-MS-Custom-one": "1"}
        body = {
            "targets": [{"rawId": "4:+15557770001"}],
            "callbackUri": w.app.callback,
            "customCallingContext": {"sipHeaders": headers},
        }
        w.node.node.create(decode_request(CreateCallRequest, json.dumps(body).encode()), VERSION)
        await w.app.event("CallConnected")
        (invite,) = w.carrier.invites
        names = ("user-to-user", "x-ms-custom-order", "x-ms-custom-one")
        assert [invite.headers.get_first(name) for name in names] == ["56a390;encoding=hex", "7", "1"]
