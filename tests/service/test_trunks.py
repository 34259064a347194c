"""A node from a configuration file: trunks, users with passwords, numbers, limits, keys, health and draining."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.live import TestApp, until
from tests.sip_phone import BYE, Line, TestPhone

from offhook.legs.leg import Ended, Refused
from offhook.service.process import LiveNode
from offhook.service.serve_config import read
from offhook.sip.auth import Account
from offhook.sip.transaction import Peer
from offhook.wire.identifiers import parse_raw_id
from offhook.wire.models import AnswerCallRequest, CreateCallRequest
from offhook.wire.signing import http_date, sign_hmac

KEY1, KEY2 = (base64.b64encode(bytes(range(n, n + 64))).decode() for n in (1, 2))
VERSION = "2026-03-12"
ANNA = Account("anna", "correct horse")

FILE = """
[node]
host = "127.0.0.1"
port = 0
state_dir = "state"
allow_private_targets = true
drain_seconds = 30
{node}
[resource]
key1 = "{key1}"
key2 = "{key2}"
[[webhook]]
name = "app"
url = "{webhook}"
[sip]
host = "127.0.0.1"
port = 0
rtp_ports = "36000-36999"
destinations = ["+1555*"]
{more}
"""
CARRIER = """
[[trunk]]
name = "carrier"
host = "127.0.0.2"
port = {port}
allow = ["127.0.0.2"]
username = "offhook"
password = "{password}"
prefixes = ["+1555*"]
strip = 1
add = "9"
caller_id = "+15550100000"
calls = {calls}
"""
USER = """
[[user]]
name = "anna"
password = "correct horse"
number = "+15550100001"
"""
NUMBER = """
[[number]]
number = "+15550100*"
webhooks = ["app"]
calls = 2
"""


class World:
    """A node of a file, in this process, with an app and the carrier's phone on 127.0.0.2."""

    def __init__(self, node: LiveNode, app: TestApp, carrier: TestPhone) -> None:
        self.node, self.app, self.carrier = node, app, carrier

    @property
    def sip(self) -> int:
        assert self.node.phones is not None
        return self.node.phones.trunk.ports["udp"]

    async def answer(self) -> str:
        invited = await self.app.invited()
        request = AnswerCallRequest(
            incoming_call_context=invited["incomingCallContext"], callback_uri=self.app.callback
        )
        return str(self.node.node.answer(request, VERSION).call_connection_id)

    def create(self, number: str) -> str:
        request = CreateCallRequest(
            targets=(parse_raw_id(f"4:{number}"),),
            callback_uri=self.app.callback,
            source_caller_id_number=parse_raw_id("4:+15550100009"),
        )
        return str(self.node.node.create(request, VERSION).call_connection_id)

    async def get(self, path: str, key: str = "", host: str = "") -> tuple[int, str]:
        base = self.node.describe()["httpEndpoint"]
        authority = host or base.partition("//")[2]
        headers = {"Host": authority}
        if key:
            signed = sign_hmac("GET", path, authority, http_date(time.time()), b"", base64.b64decode(key))
            headers |= signed
        async with aiohttp.ClientSession() as session, session.get(base + path, headers=headers) as response:
            return response.status, await response.text()


@contextlib.asynccontextmanager
async def world(
    folder: Path, more: str = "", node: str = "", password: str = "", calls: int = 0
) -> AsyncIterator[World]:
    app, carrier = TestApp(), TestPhone("15557770001", "127.0.0.2", asks=password)
    async with app.running(), carrier.running():
        trunk = CARRIER.format(port=carrier.trunk.ports["udp"], password=password or "unused pw", calls=calls)
        text = FILE.format(key1=KEY1, key2=KEY2, webhook=app.webhook, more=more + trunk, node=node)
        (folder / "offhook.toml").write_text(text)
        live = LiveNode(read(folder / "offhook.toml", {}), lambda event: None)
        await live.start()
        try:
            await until(lambda: app.validations, "validation")
            phones = live.phones
            assert phones is not None
            await until(lambda: all(gateway.peers for gateway in phones.gateways), "the carrier's address")
            yield World(live, app, carrier)
            for line in carrier.lines:
                line.leg.hang_up(BYE)
            await until(lambda: not live.node.calls and not len(phones.trunk.sockets), "nothing is left of any call")
            assert not phones.table.live, "no call counts any more"
        finally:
            await live.stop()


def status(line: Line) -> str:
    (end,) = [event for event in line.events if isinstance(event, Refused | Ended)]
    return end.outcome


async def test_a_trunk_calls_a_number_and_asserts_who_calls(tmp_path: Path) -> None:
    async with world(tmp_path, NUMBER) as w:
        headers = [
            ("P-Asserted-Identity", "<sip:+15558887777@carrier>"),
            ("User-To-User", "56a390;encoding=hex"),
            ("X-MS-Custom-Order", "7"),
        ]
        line = w.carrier.call(w.sip, "+15550100002", headers=headers)
        await w.answer()
        await w.carrier.answered(line)
        (incoming,) = w.app.incoming
        assert incoming["data"]["from"]["rawId"] == "4:+15558887777"
        sent = incoming["data"]["customContext"]["sipHeaders"]
        assert sent == {"userToUser": "56a390;encoding=hex", "X-MS-Custom-Order": "7"}


async def test_a_number_that_is_not_ours_is_not_found(tmp_path: Path) -> None:
    async with world(tmp_path, NUMBER) as w:
        line = w.carrier.call(w.sip, "+15559999999")
        await until(lambda: line.over, "a refusal")
        assert status(line) == "unreachable" and not w.app.incoming


async def test_a_number_takes_so_many_calls_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, NUMBER) as w:
        lines = [w.carrier.call(w.sip, "+15550100002") for _ in range(3)]
        await until(lambda: any(line.over for line in lines), "one refusal")
        (refused,) = [line for line in lines if line.over]
        assert status(refused) == "busy"
        lines.remove(refused)
        lines[0].leg.hang_up(BYE)
        await until(lambda: len(w.node.node.calls) == 1, "room")
        again = w.carrier.call(w.sip, "+15550100002")
        await until(lambda: len(w.app.incoming) == 3, "the app hears of it")
        assert not again.over


async def test_a_trunk_has_a_limit_of_its_own_for_both_directions(tmp_path: Path) -> None:
    async with world(tmp_path, calls=1) as w:
        w.carrier.answers = None
        w.create("+15557770001")
        await until(lambda: w.carrier.lines, "a ringing line")
        line = w.carrier.call(w.sip)
        await until(lambda: line.over, "a refusal")
        w.create("+15557770002")
        failed = await w.app.event("CreateCallFailed")
        assert failed["resultInformation"]["code"] == 429


async def test_strangers_get_no_answer_where_nobody_may_register(tmp_path: Path) -> None:
    stranger = TestPhone()
    async with world(tmp_path) as w, stranger.running():
        line = stranger.call(w.sip)
        known = w.carrier.call(w.sip)
        await until(lambda: w.app.incoming, "the trunk's call")
        assert w.node.phones is not None
        await until(lambda: w.node.phones.trunk.endpoint.counters.unheard, "the stranger's packet")  # type: ignore[union-attr]
        assert not line.events and not known.over and len(w.app.incoming) == 1


@pytest.mark.parametrize(("password", "answer"), [("correct horse", 200), ("wrong", 401)])
async def test_a_user_registers_with_its_password(tmp_path: Path, password: str, answer: int) -> None:
    phone = TestPhone("anna", account=Account("anna", password))
    async with world(tmp_path, USER) as w, phone.running():
        assert await phone.enrol(w.sip) == answer


async def test_a_user_registers_nobody_else(tmp_path: Path) -> None:
    phone = TestPhone("berta", account=ANNA)
    async with world(tmp_path, USER) as w, phone.running():
        assert await phone.enrol(w.sip) == 403


async def test_a_user_calls_under_its_own_number_whatever_it_says(tmp_path: Path) -> None:
    phone = TestPhone("15551234567", account=ANNA)
    async with world(tmp_path, USER) as w, phone.running():
        line = phone.call(w.sip, headers=[("P-Asserted-Identity", "<sip:+15558887777@x>")])
        await w.answer()
        await phone.answered(line)
        assert w.app.incoming[0]["data"]["from"]["rawId"] == "4:+15550100001"
        line.leg.hang_up(BYE)


async def test_without_the_password_nobody_calls(tmp_path: Path) -> None:
    phone = TestPhone("anna", account=Account("anna", "guess"))
    async with world(tmp_path, USER) as w, phone.running():
        line = phone.call(w.sip)
        await until(lambda: line.over, "a refusal")
        assert not w.app.incoming


async def test_a_registered_user_is_called_by_number(tmp_path: Path) -> None:
    phone = TestPhone("anna", account=ANNA)
    async with world(tmp_path, USER) as w, phone.running():
        assert await phone.enrol(w.sip) == 200
        w.create("+15550100001")
        await w.app.event("CallConnected")
        assert len(phone.lines) == 1 and not w.carrier.invites
        phone.lines[0].leg.hang_up(BYE)
        await w.app.event("CallDisconnected")


async def test_a_call_goes_out_by_a_trunk_with_its_rules_and_password(tmp_path: Path) -> None:
    async with world(tmp_path, password="carrier pw") as w:
        w.create("+15557770001")
        await w.app.event("CallConnected")
        first, second = w.carrier.invites
        assert first.uri.startswith("sip:95557770001@127.0.0.2")
        assert not first.headers.get("authorization") and second.headers.get("authorization")
        assert "+15550100000" in (second.headers.get_first("from") or "")
        assert second.headers.get_first("p-asserted-identity") == "<sip:+15550100000@127.0.0.1>"


async def test_a_wrong_trunk_password_fails_the_call(tmp_path: Path) -> None:
    async with world(tmp_path, password="carrier pw") as w:
        assert w.carrier.challenger is not None
        w.carrier.challenger._passwords = {"offhook": "another"}
        w.create("+15557770001")
        await w.app.event("CreateCallFailed")
        assert len(w.carrier.invites) == 2


async def test_a_place_that_is_too_busy_is_followed_by_the_next(tmp_path: Path) -> None:
    second = TestPhone("15557770002", "127.0.0.3")
    async with world(tmp_path) as w, second.running():
        assert w.node.phones is not None
        (gateway,) = w.node.phones.gateways
        gateway._found([*gateway.peers, Peer("udp", "127.0.0.3", second.trunk.ports["udp"])])
        w.carrier.answers = 503
        w.create("+15557770001")
        await w.app.event("CallConnected")
        assert len(second.lines) == 1 and len(w.carrier.invites) == 1
        w.create("+15557770002")
        await until(lambda: len(second.lines) == 2, "the busy one rests")
        assert len(w.carrier.invites) == 1
        for line in second.lines:
            line.leg.hang_up(BYE)
        await until(lambda: not w.node.node.calls, "both are over")


async def test_a_trunk_moves_a_call_only_to_what_is_allowed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.carrier.moved_to = "sip:+4930123456@127.0.0.9"
        w.create("+15557770001")
        await w.app.event("CreateCallFailed")
        assert len(w.carrier.invites) == 1


async def test_destinations_are_denied_by_default(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.create("+4930123456")
        failed = await w.app.event("CreateCallFailed")
        assert failed["resultInformation"]["code"] == 403
        assert not w.carrier.invites


async def test_either_key_opens_and_no_other(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        path = "/console/api/status"
        assert [(await w.get(path, key))[0] for key in (KEY1, KEY2)] == [200, 200]
        other = base64.b64encode(b"x" * 64).decode()
        assert (await w.get(path, other))[0] == (await w.get(path))[0] == 401


async def test_requests_signed_for_the_public_host_pass_behind_a_proxy(tmp_path: Path) -> None:
    async with world(tmp_path, node='public_url = "https://calls.example.com"') as w:
        described = w.node.describe()
        assert described["endpoint"] == "https://calls.example.com/"
        base, path = described["httpEndpoint"], f"/calling/callConnections/none?api-version={VERSION}"
        key = base64.b64decode(KEY1)
        headers = sign_hmac("GET", path, "calls.example.com", http_date(time.time()), b"", key)
        async with aiohttp.ClientSession() as session, session.get(base + path, headers=headers) as response:
            assert response.status == 404, "signed well, only there is no such call"


async def test_health_and_figures(tmp_path: Path) -> None:
    async with world(tmp_path, NUMBER) as w:
        assert await w.get("/healthz") == (200, "ok\n")
        w.carrier.call(w.sip, "+15550100002")
        await w.answer()
        await w.app.event("CallConnected")
        code, text = await w.get("/metrics")
        figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        assert code == 200 and float(figures["offhook_calls"]) == 1 and float(figures["offhook_rtp_streams"]) == 1
        assert float(figures['offhook_limited_calls{rule="trunk carrier"}']) == 1
        assert float(figures['offhook_posts_total{outcome="delivered"}']) >= 2
        assert KEY1 not in text and "+1555" not in text.replace("number +15550100*", "")


async def test_draining_refuses_new_calls_and_lets_live_ones_end(tmp_path: Path) -> None:
    async with world(tmp_path, NUMBER) as w:
        line = w.carrier.call(w.sip, "+15550100002")
        await w.answer()
        await w.carrier.answered(line)
        draining = asyncio.create_task(w.node.drain(30))
        await until(lambda: w.node.node.draining, "draining")
        assert (await w.get("/healthz"))[0] == 503
        second = w.carrier.call(w.sip, "+15550100003")
        await until(lambda: second.over, "a refusal")
        assert not draining.done() and not line.over
        line.leg.hang_up(BYE)
        await asyncio.wait_for(draining, 5)


async def test_webhooks_hear_of_what_they_asked_for(tmp_path: Path) -> None:
    other = TestApp()
    async with other.running():
        more = f'[[webhook]]\nname = "other"\nurl = "{other.webhook}"\nto = ["+15550200*"]\nfrom = ["+1555777*"]\n'
        async with world(tmp_path, more) as w:
            await until(lambda: other.validations, "validation")
            w.carrier.call(w.sip, "+15550200001")
            await until(lambda: w.app.incoming and other.incoming, "both hear")
            w.carrier.call(w.sip, "+15550300001")
            await until(lambda: len(w.app.incoming) == 2, "one hears")
            assert len(other.incoming) == 1


async def test_private_targets_are_refused_with_the_setting_that_allows_them(tmp_path: Path) -> None:
    app = TestApp()
    async with app.running():
        text = FILE.format(key1=KEY1, key2=KEY2, webhook=app.webhook, more="", node="")
        path = tmp_path / "offhook.toml"
        path.write_text(text.replace("allow_private_targets = true", ""))
        live = LiveNode(read(path, {}), lambda event: None)
        await live.start()
        try:
            await until(lambda: "allow_targets" in live.describe()["incoming"][0]["reason"], "the reason")
            assert not app.validations
        finally:
            await live.stop()
