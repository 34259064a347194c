"""What the inspector knows without drawing: its axis, items of events, tiles of sound, in a browser's page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page
from tests.interop.made_call import CONNECTION, CUT_MS, story
from tests.interop.made_console import page_for_modules

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of the console's origin, for its modules."""
    async with page_for_modules(browser) as opened:
        yield opened


async def run(page: Page, module: str, body: str, argument: Any = None) -> Any:
    """The value of a function over a module's exports (`it`) and an argument (`given`)."""
    script = f"async (given) => {{ const it = await import('/console/inspector/{module}.js'); {body} }}"
    return await page.evaluate(script, argument)


async def test_zooming_keeps_the_time_under_the_pointer_and_stays_inside(page: Page) -> None:
    wrong = await run(
        page,
        "scale",
        """
        const limits = [-1000, 90000], found = [];
        for (let n = 0; n < 500; n++) {
          const scale = new it.Scale(-1000, 90000, 800).zoomed(1 + Math.random() * 3000, Math.random() * 80000, limits);
          const x = Math.random() * 800, at = scale.ms(x);
          const near = scale.zoomed(1 + Math.random(), at, limits);
          const moved = scale.panned((Math.random() - 0.5) * 1e6, limits);
          const inside = near.span > 4.001 && near.from > -1000 && near.to < 90000;
          if (inside && Math.abs(near.x(at) - x) > 0.01) found.push(at);
          for (const one of [scale, near, moved])
            if (one.from < -1000.001 || one.to > 90000.001 || one.span < 3.999) found.push([one.from, one.to]);
          if (Math.abs(moved.span - scale.span) > 1e-6) found.push("a pan changed the span");
        }
        return found;""",
    )
    assert wrong == []


async def test_ticks_are_round_and_never_crowd(page: Page) -> None:
    wrong = await run(
        page,
        "scale",
        """
        const found = [];
        for (let span = 4; span < 4e7; span *= 1.31)
          for (const width of [300, 900, 2000]) {
            const scale = new it.Scale(-span * 0.013, span * 0.987, width);
            const { step, at } = it.ticks(scale);
            const labels = at.map((ms) => it.clock(ms, step));
            if (new Set(labels).size !== labels.length) found.push([span, width, labels]);
            if (step / scale.msPerPx < 45 || at.length < 1) found.push([span, width, step]);
          }
        return found;""",
    )
    assert wrong == []


async def test_times_are_told_as_people_read_them(page: Page) -> None:
    told = await run(
        page,
        "scale",
        "return [it.clock(24120), it.clock(-1410), it.clock(0), it.clock(3725000, 1000), it.clock(59999.6, 1000),"
        " it.lengthOf(3.2), it.lengthOf(1840), it.lengthOf(420.4), it.lengthOf(65000)]",
    )
    assert told == ["0:24.120", "−0:01.410", "0:00.000", "62:05", "1:00", "3.2 ms", "1.84 s", "420 ms", "1:05"]


async def test_events_that_belong_together_are_one_item(page: Page) -> None:
    lanes = await run(
        page,
        "spans",
        "return Object.fromEntries([...it.itemsByLane(given)].map(([name, lane]) => [name, lane.items.map((one) =>"
        " ({ ...one, to: one.to === Infinity ? 'on' : one.to }))]))",
        story().page["events"],
    )
    [late] = [one for one in lanes["callback"] if one["label"] == "RecognizeCompleted"]
    assert [dot["bad"] for dot in late["dots"]] == [True, True, False] and not late["bad"] and late["to"] > 45000
    [socket] = lanes["stream"]
    assert (socket["label"], socket["from"], socket["to"]) == ("wss://bot.example/media", 61, 62040)
    assert {one["label"]: one["to"] - one["from"] for one in lanes["media"]}["play"] == pytest.approx(5740)
    [request] = [one for one in lanes["rest"] if one["label"] == "AnswerCall"]
    assert request["from"] == pytest.approx(-212) and request["to"] == pytest.approx(-15.6)
    assert [one["hollow"] for one in lanes["mark"] if one["label"] == "answer-2a"] == [True]


async def test_what_goes_on_has_no_end_and_what_is_unknown_has_a_lane(page: Page) -> None:
    common = {"leg": None, "connection": CONNECTION}
    events = [
        {"seq": 1, "atMs": 5.0, "kind": "stream", "name": "opened", "detail": {"url": "wss://a"}, **common},
        {"seq": 2, "atMs": 6.0, "kind": "novelty", "name": "seen", "detail": None, **common},
        {
            "seq": 3,
            "atMs": 7.0,
            "kind": "delivery",
            "name": "Lost",
            "detail": {"eventId": "x", "status": 200},
            **common,
        },
    ]
    lanes = await run(
        page,
        "spans",
        "return [...it.itemsByLane(given)].map(([name, { items }]) => [name, items[0].to === Infinity])",
        events,
    )
    assert lanes == [["stream", True], ["call", False], ["callback", False]]


def media(*events: tuple[float, str, dict[str, Any]]) -> list[dict[str, Any]]:
    common = {"kind": "media", "leg": None, "connection": CONNECTION}
    return [
        {"seq": seq, "atMs": at, "name": name, "detail": detail, **common}
        for seq, (at, name, detail) in enumerate(events, 1)
    ]


async def test_what_plays_ends_where_it_ends(page: Page) -> None:
    """By itself, by a stop, or by a failure before it has begun."""
    events = media(
        (0.0, "load", {"prompt": "a", "sources": ["x.wav"]}),
        (10.0, "loaded", {"prompt": "a"}),
        (11.0, "play", {"prompt": "a"}),
        (500.0, "play ended", {"prompt": "a"}),
        (600.0, "play", {"prompt": "b"}),
        (700.0, "play stopped", {"prompt": "b"}),
        (800.0, "load", {"prompt": "c"}),
        (850.0, "play failed", {"prompt": "c"}),
        (900.0, "recording open", {"recording": "r"}),
        (950.0, "recording pause", {"recording": "r"}),
        (990.0, "recording close", {"recording": "r"}),
    )
    lanes = await run(
        page,
        "spans",
        "return it.itemsByLane(given).get('media').items.map(({ label, from, to, bad }) => [label, from, to, bad])",
        events,
    )
    assert lanes == [
        ["load", 0, 10, False],
        ["play", 11, 500, False],
        ["play", 600, 700, False],
        ["play failed", 800, 850, True],
        ["recording", 900, 990, False],
        ["recording pause", 950, 950, False],
    ]


async def test_a_stop_is_seen_beside_the_mark_that_it_cut(page: Page) -> None:
    """Where the sound ends, in a row of its own: they are noted within a frame."""
    common = {"leg": None, "connection": CONNECTION}
    events = [
        {"seq": 1, "atMs": 3620.0, "kind": "mark", "name": "cut", "detail": {"mark": "question"}, **common},
        {"seq": 2, "atMs": 3620.4, "kind": "stopAudio", "name": "StopAudio", "detail": {"atSample": 57680}, **common},
    ]
    leg = {"legId": "a", "number": 1, "rawId": "4:+1", "joinedMs": 0}
    leg["audio"] = [{"side": "heard", "beginMs": 20, "rate": 16000, "samples": 160000}]
    found = await run(
        page,
        "call_model",
        "const model = new it.CallModel({ ...given, rate: 16000, ended: true });"
        " return model.lanes.get('mark').items.map(({ kind, from, row }) => [kind, from, row])",
        {"events": events, "legs": [leg]},
    )
    assert found == [["mark", 3620, 0], ["stopAudio", 3625, 1]]


async def test_summaries_name_people(page: Page) -> None:
    uuid = "c195e3be-9a11-8001-8c0f-0c5b8a1b2c3d"
    events = [
        ("leg", "placed", {"leg": "a", "caller": "4:+15550100001", "callee": "4:+15550100002"}),
        ("leg", "answered", {"leg": "b", "participant": "4:+15550100003"}),
        ("dtmf", "pressed", {"leg": "a", "tone": "5", "direction": "in"}),
        ("media", "mute", {"leg": "c"}),
        ("media", "play", {"prompt": uuid, "loop": False, "to": None}),
        ("media", "load", {"prompt": uuid, "sources": ["http://app/menu.wav"]}),
        ("callback", "IncomingCall", {"to": "4:+15550100002", "eventId": uuid}),
        ("sip", "401 INVITE", {"direction": "out", "peer": "udp:10.0.0.1:5060"}),
    ]
    legs = [
        {"legId": "a", "number": 1, "rawId": "4:+15550100001", "displayName": "Ada \u202eecaL"},
        {"legId": "b", "number": 2, "rawId": "4:+15550100003"},
        {"legId": "c", "number": 3, "rawId": "4:+15550100003"},
    ]
    told = await run(
        page,
        "call_model",
        "const model = new it.CallModel({ legs: given[1] });"
        " const { isBad } = await import('/console/inspector/kinds.js');"
        " return [given[0].map(([kind, name, detail]) => model.told({ kind, name, detail, leg: detail.leg ?? null })),"
        " isBad({ kind: 'sip', name: '401 INVITE' })]",
        [events, legs],
    )
    ada = "\u2068Ada \u202eecaL\u2069"
    assert told == [
        [
            f"caller {ada} · callee +15550100002",
            "+15550100003 (2)",
            f"from {ada}",
            "+15550100003 (3)",
            "",
            "http://app/menu.wav",
            "to +15550100002",
            "to udp:10.0.0.1:5060",
        ],
        False,
    ]


async def test_a_call_answered_late_counts_anew_and_knows_its_cuts(page: Page) -> None:
    made = story().page
    facts = await run(
        page,
        "call_model",
        """
        const model = new it.CallModel(given);
        const early = model.add([{ ...given.events[0], seq: 900, atMs: -5000 }]), again = model.add(given.events);
        const first = model.events[0].seq;
        const cuts = given.legs.map((leg) => model.cuts(leg).map((cut) => cut.atMs));
        model.replace(given);
        return [early, again, first, cuts, model.events.length, model.lastSeq];""",
        made,
    )
    count = len(made["events"])
    assert facts == [True, False, 900, [[CUT_MS], []], count, count]


async def test_tiles_have_the_extremes_of_the_sound_and_are_bounded(page: Page) -> None:
    worst, most, grown = await run(
        page,
        "tiles",
        """
        const sound = Int16Array.from({ length: 200000 }, (_, n) => 20000 * Math.sin(n * n / 9e5));
        let known = 100000;
        const cut = (from, to) => sound.subarray(Math.round(from * 16), Math.min(known, Math.round(to * 16)));
        const source = {
          samples: async (lane, from, to) => cut(from, to),
          peaks: async (lane, from, to, bins) => {
            const all = cut(from, to), size = Math.round((to - from) * 16 / bins);
            const peaks = Array.from({ length: bins }, (_, n) => {
              const part = all.subarray(n * size, (n + 1) * size);
              return part.length ? [Math.min(...part) / 258, Math.max(...part) / 258] : [0, 0];
            });
            return { peaks: peaks.flat(), to: Math.ceil(all.length / size) };
          },
        };
        const { Scale } = await import("/console/inspector/scale.js");
        const tiles = new it.Tiles(source, () => {});
        const lane = { id: "a", leg: "a", side: "said", track: { beginMs: 0, rate: 16000, samples: 160000 } };
        const lo = new Float32Array(400), hi = new Float32Array(400);
        const look = async (scale) => {
          for (let n = 0; n < 9; n++) {
            tiles.turn();
            tiles.columns(lane, scale, lo, hi);
            tiles.flush();
            await new Promise((done) => setTimeout(done));
            if (tiles.settled) break;
          }
          tiles.turn();
          tiles.columns(lane, scale, lo, hi);
        };
        let worst = 0;
        for (const [from, to] of [[0, 6000], [1000, 2000], [1234, 1260], [3000, 3400], [0, 9000]]) {
          await look(new Scale(from, to, 400));
          for (let x = 2; x < (to > 6000 ? 260 : 398); x++) {
            const [first, last] = [x, x + 1].map((one) => Math.floor((from + ((to - from) * one) / 400) * 16));
            const part = sound.subarray(first + 1, last - 1);
            if (!part.length) continue;
            worst = Math.max(worst, Math.max(...part) / 32768 - hi[x], lo[x] - Math.min(...part) / 32768);
          }
        }
        known = 150000; // it was to be more by the page's clock
        lane.track = { ...lane.track, samples: known };
        tiles.refresh();
        await look(new Scale(0, 9000, 400));
        const grown = hi[355] > 0.3;
        for (let n = 0; n < 600; n++) {
          lane.id = `b${n}`;
          tiles.turn();
          tiles.columns(lane, new Scale(0, 900, 400), lo, hi);
        }
        tiles.turn();
        tiles.flush();
        return [worst, tiles.size, grown];""",
    )
    assert worst < 0.01 and most <= 402 and grown


SOCKETS = """
window.sockets = [];
window.silent = false;
window.WebSocket = class extends EventTarget {
  static OPEN = 1;
  readyState = 1;
  constructor() {
    super();
    window.sockets.push(this);
    queueMicrotask(() => this.dispatchEvent(new Event("open")));
  }
  send(text) {
    const { kind } = JSON.parse(text);
    const answer = { hello: { kind: "ready", calls: [], identity: "8:acs:a" }, ping: { kind: "pong" } }[kind];
    const heard = new MessageEvent("message", { data: JSON.stringify(answer) });
    if (answer && !window.silent) queueMicrotask(() => this.dispatchEvent(heard));
  }
  close() {}
};
"""


async def test_the_phone_of_a_hidden_page_keeps_its_socket_and_finds_out_when_it_is_dead(page: Page) -> None:
    """In hidden pages timers fire once a minute; a call that nobody can reach any more is over after a while."""
    context = await page.context.browser.new_context()  # type: ignore[union-attr]
    other = await context.new_page()
    try:
        await other.add_init_script(SOCKETS)
        await other.clock.install()
        await other.goto(page.url)
        await other.evaluate(
            """async () => {
              const { Phone } = await import("/console/phone/phone.js");
              window.phone = new Phone();
              phone.open();
            }"""
        )
        look = "[sockets.length, phone.status, phone.call?.state ?? null]"
        for _ in range(4):
            await other.clock.fast_forward(60_000)
        assert await other.evaluate(look) == [1, "ready", None], "pings were answered"
        await other.evaluate(
            "() => { silent = true; phone.call = Object.assign(new EventTarget(), { call: 'a', state: 'connected',"
            " lost() {}, end(result) { this.state = 'ended'; this.result = result; } }); }"
        )
        await other.clock.run_for(12_000)
        known, *rest = await other.evaluate(look)
        assert known > 1 and rest == ["lost", "connected"]
        await other.clock.run_for(30_000)
        assert await other.evaluate("phone.call.result?.message") == "The node could not be reached"
    finally:
        await context.close()


async def test_a_file_may_call_its_events_whatever_it_likes(page: Page) -> None:
    """Names that every object has are names like others."""
    lanes, titles = await run(
        page,
        "spans",
        """
        const { kindOf, told } = await import("/console/inspector/kinds.js");
        const rest = { leg: null, connection: null, detail: { a: 1 } };
        const event = (kind, name, seq) => ({ seq, atMs: seq, kind, name, ...rest });
        const events = given.flatMap((one, n) => [event(one, "x", 2 * n), event("media", one, 2 * n + 1)]);
        const lanes = [...it.itemsByLane(events)].map(([lane, { items }]) => [lane, items.length]);
        return [lanes, given.map((one) => [kindOf(one).title, told(event(one, "x", 1), () => "")])];""",
        names := ["constructor", "__proto__", "toString", "__defineGetter__", "hasOwnProperty"],
    )
    assert lanes == [["call", len(names)], ["media", len(names)]]
    assert titles == [[name, "a 1"] for name in names]
