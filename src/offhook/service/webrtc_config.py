"""`[webrtc]` of the file of `offhook serve`: read into a plan, and what must fit with the rest of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from offhook.service.config import NodePlan, is_loopback, meet
from offhook.service.config_file import Problem, WebRtcSection
from offhook.service.config_values import Values
from offhook.service.webrtc_plan import WebRtcPlan

# RFC 7064 §3.1, RFC 7065 §3.1.
_STUN = re.compile(r"stuns?:[^\s?@/]+", re.IGNORECASE)
_TURN = re.compile(r"turns?:[^\s?@/]+(\?transport=(udp|tcp))?", re.IGNORECASE)


def webrtc_plan(section: WebRtcSection | None, values: Values) -> WebRtcPlan | None:
    """The plan; None where no browser is a phone. What is wrong goes into `values`."""
    if section is None or not section.enabled:
        return None
    host = values.address("[webrtc] host", section.host)
    if host is not None and host.is_multicast:
        values.wrong("[webrtc] host", f"{host} is a group of machines", "give an address of this machine")
    for text in section.advertise:
        shown = values.address("[webrtc] advertise", text)
        if shown is not None and (shown.is_unspecified or shown.is_multicast):
            values.wrong("[webrtc] advertise", f"{shown} is nobody's address", "give the one that browsers reach")
    for name, urls, form, like in (
        ("stun", section.stun, _STUN, "stun:stun.example.com:3478"),
        ("turn", section.turn, _TURN, "turn:turn.example.com:3478 or turns:turn.example.com:5349?transport=tcp"),
    ):
        for url in urls:
            if not form.fullmatch(url):
                values.wrong(
                    f"[webrtc] {name}", f"{url!r} is no URL of such a server (RFC 7064, 7065)", f"write {like}"
                )
    password = values.secret("[webrtc] turn_password", section.turn_password, section.turn_password_env)
    secret = values.secret("[webrtc] turn_secret", section.turn_secret, section.turn_secret_env)
    _check_account(section, values, password, secret)
    return WebRtcPlan(
        host=section.host,
        port=section.port,
        advertise=tuple(section.advertise),
        stun=tuple(section.stun),
        turn=tuple(section.turn),
        turn_username=section.turn_username,
        turn_password=password,
        turn_secret=secret,
    )


def _check_account(section: WebRtcSection, values: Values, password: str, secret: str) -> None:
    """Browsers refuse a TURN server without a name and a password (WebRTC §4.2.2)."""
    named = section.turn_secret or section.turn_secret_env
    if secret and (password or section.turn_username):
        values.wrong("[webrtc] turn_secret", "is given beside turn_username or turn_password", "keep one way")
    if section.turn and not named and not (section.turn_username and (password or section.turn_password_env)):
        fix = "give turn_secret, or turn_username and turn_password"
        values.wrong("[webrtc] turn", "has no account: browsers refuse such a server", fix)
    if not section.turn and (secret or password or section.turn_username):
        values.wrong("[webrtc] turn", "is missing, though it has an account", "give the server's URLs")


def webrtc_problems(plan: NodePlan) -> Iterator[Problem]:
    """What must fit together."""
    webrtc, sip = plan.webrtc, plan.sip
    if webrtc is None:
        return
    if sip is not None and webrtc.port and meet(webrtc.host, sip.host):
        first, last = sip.rtp_ports
        if webrtc.port == sip.port:
            yield Problem("[webrtc] port", f"{webrtc.port} is that of SIP", "choose another for one of them")
        elif first <= webrtc.port <= last:
            what = f"{webrtc.port} is one of rtp_ports in [sip]: a call may have taken it before a restart"
            yield Problem("[webrtc] port", what, "choose one outside of that range", fatal=False)
    for shown in webrtc.advertise:
        if is_loopback(shown) and not is_loopback(webrtc.host):
            what = f"{shown} is reached from this machine only"
            yield Problem("[webrtc] advertise", what, "give the address that browsers reach", fatal=False)
        if ":" in shown and ":" not in webrtc.host:
            what = f'{shown} is one of IPv6, and host = "{webrtc.host}" takes IPv4 alone'
            yield Problem("[webrtc] advertise", what, 'give host = "::", which takes both', fatal=False)
    if not plan.console.pages:
        what = "is for pages of the console, and there is none"
        yield Problem("[webrtc]", what, "give [console] a token, or say enabled = false", fatal=False)
