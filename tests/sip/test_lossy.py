"""Every story of a call, told over an air that loses each of its packets in turn, then with every packet doubled.

What must hold each time: the story has its end, each side hears of it once, and nothing is left behind.

What real peers do wrong or otherwise, and the story that has it (stories.py, probes.py); "alone" is the same by hand,
packet by packet: in test_endpoint.py unless another file is named.

| probe | story | alone |
| --- | --- | --- |
| lost INVITE, lost 200, lost ACK | each packet of `plain` | test_calls.py |
| duplicate INVITE before and after the answer | `plain`, doubled | the_same_invite_three_times |
| 486, 480 with their ACK | `refused`, `refused_with_480`, `refused_with_603` | test_calls.py |
| 401, 407 with their ACK | `challenged`, `asked_by_a_proxy` | a_challenge_is_met_once |
| digest: MD5, `qop="auth,auth-int"`, SHA-256 | `challenged`, `asked_by_a_proxy`, `asked_for_sha_256` | test_auth.py |
| Contact other than To; two Record-Routes, both roles | all through the proxy | two_record_routes… |
| 183, PRACK | `early_media`, `early_media_without_a_second_answer` | test_reliable.py |
| forked 200 | `forked` | a_forked_call_keeps_the_first |
| CANCEL; CANCEL races 200 | `given_up`, `given_up_too_late` | test_calls.py |
| re-INVITE; glare (491) | `held_by_us`, `held_by_them`, `late_answer`, `glare` | test_renegotiation.py |
| INFO, UPDATE within a call | `keys`, `refreshed` | test_renegotiation.py |
| wrong tags | `wrong_tags` | a_bye_of_no_dialog, …another_from_tag |
| CSeq going back | `cseq_going_back` | a_cseq_that_goes_back |
| `transport=UDP` in capitals | `transport_in_capitals` | transport_in_capitals_in_the_contact |
| display names with commas | `names_with_commas` | test_message.py |
| `tel:` and `;npdi` users | `tel_number`, `ported_number` | numbers_in_many_forms |
| IPv6 | `plain` and others between IPv6 hosts | ipv6_without_a_nat |
| folded and compact headers, garbage | `folded_and_compact` | folded_and_compact_headers… |
| RFC 4475 | `torture` | test_torture.py |
| several telephone-event rates | `key_clocks` | test_sdp.py |
| hold by sendonly and by 0.0.0.0 | `held_in_both_ways` | test_sdp.py |
| 3xx | `moved` | moved_says_where_to |
| session refresh | `refreshed` | test_session_timer.py |
| INVITE with Replaces | `taken_over` | test_transfer.py |
| RTP from another port (latching) | no signalling | tests/legs/test_rtp.py |
"""

from __future__ import annotations

import pytest
from tests.sip import probes
from tests.sip.link import Link, Over, Proxy
from tests.sip.stories import (
    Story,
    begin,
    challenged,
    early_media,
    end,
    forked,
    given_up,
    given_up_too_late,
    glare,
    held_by_them,
    held_by_us,
    keys,
    late_offer,
    plain,
    refreshed,
    refused,
    refused_change,
    taken_over,
)

from offhook.sip.message import Request

STORIES: list[Story] = [
    plain, refused, early_media, late_offer, given_up, given_up_too_late, challenged, held_by_us, held_by_them,
    refused_change, glare, keys, refreshed, taken_over, probes.wrong_tags, probes.cseq_going_back,
    probes.transport_in_capitals, probes.names_with_commas, probes.folded_and_compact, probes.torture,
    probes.tel_number, probes.ported_number, probes.held_in_both_ways, probes.key_clocks, probes.moved,
    probes.asked_by_a_proxy, probes.asked_for_sha_256, probes.refused_with_480, probes.refused_with_603,
    probes.late_answer, probes.early_media_without_a_second_answer,
]  # fmt: skip
DIRECT = {taken_over, probes.moved, probes.tel_number, probes.torture, probes.folded_and_compact}
"""What is told without a proxy only: the one of the tests does not know of others, nor of short names."""
V6 = [plain, refused, early_media, given_up, held_by_us, held_by_them, challenged, keys, refreshed]
V6_HOSTS = ("2001:db8::1", "2001:db8::2", "2001:db8::3")


def told(story: Story, link: Link, what: str) -> None:
    """Tell it and look that nothing is left."""
    try:
        story(link)
        assert link.quiet, [side.endpoint.next_deadline() for side in link.sides]
        for side in link.sides:
            ended = [id(event.session) for event in side.events if isinstance(event, Over)]
            assert len(ended) == len(set(ended)), f"an end is told twice: {side.story}"
            assert all(session.state == "over" for session in side.sessions)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}\n" + "\n".join(link.messages)) from error


WAYS = [(story, False) for story in STORIES] + [(story, True) for story in STORIES if story not in DIRECT]


@pytest.mark.parametrize(("story", "proxied"), WAYS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_each_packet_may_be_lost(story: Story, proxied: bool) -> None:
    """Without a proxy, and through one with two Record-Routes, where each hop loses for itself."""
    whole = Link(proxied=proxied)
    told(story, whole, "nothing lost")
    assert len(whole.log) >= 3
    for lost in range(len(whole.log)):
        link = Link(proxied=proxied)
        link.loses = lambda number, message, lost=lost: number == lost  # type: ignore[misc]
        told(story, link, f"packet {lost} lost")


@pytest.mark.parametrize("story", V6, ids=lambda story: story.__name__)
def test_each_packet_may_be_lost_between_ipv6_hosts(story: Story) -> None:
    whole = Link(hosts=V6_HOSTS)
    told(story, whole, "nothing lost")
    for lost in range(len(whole.log)):
        link = Link(hosts=V6_HOSTS)
        link.loses = lambda number, message, lost=lost: number == lost  # type: ignore[misc]
        told(story, link, f"packet {lost} lost")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_each_packet_may_come_twice(story: Story) -> None:
    link = Link()
    link.repeats = 2
    told(story, link, "every packet twice")


def test_a_proxy_stays_in_the_way_of_both() -> None:
    """ACK and BYE of the caller and the BYE of the called side follow both Record-Routes."""
    for by in ("us", "them"):
        link = Link(proxied=True)
        begin(link)
        end(link, link.us if by == "us" else link.them)
        requests = [m for _, who, m in link.log if who == by and isinstance(m, Request)]
        bye = next(m for m in requests if m.method == "BYE")
        ours = [Proxy.near, Proxy.far] if by == "us" else [Proxy.far, Proxy.near]
        assert bye.headers.get("route") == [f"<sip:{host};lr>" for host in ours]
        assert ("@127.0.0.2" if by == "us" else "@127.0.0.1") in bye.uri


def test_a_forked_call_with_each_packet_lost() -> None:
    whole = Link(forks=True)
    told(forked, whole, "nothing lost")
    assert len(whole.third.sessions) == 1
    for lost in range(len(whole.log)):
        link = Link(forks=True)
        link.loses = lambda number, message, lost=lost: number == lost  # type: ignore[misc]
        told(forked, link, f"packet {lost} lost")
