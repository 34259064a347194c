"""A running node: built from a plan with its sockets, run until it is told to stop, ended properly."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

from aiohttp import ClientConnectionResetError, web
from aiohttp.typedefs import Handler

from offhook import __version__
from offhook.calls.actions import OpenStream, OpenTranscription
from offhook.errors import ConfigError
from offhook.service.api import Api
from offhook.service.app_phones import AppPhones
from offhook.service.bearer import BearerCheck, KeyPages
from offhook.service.browsers import Browsers
from offhook.service.call_book import CallBook
from offhook.service.call_sound import audio_of_folder
from offhook.service.capturing import Captures
from offhook.service.certificates import State, client_context, server_context
from offhook.service.checks import Network
from offhook.service.clock import SystemClock
from offhook.service.config import LOCAL_ACCESS_KEY, NodePlan, Planned
from offhook.service.console import Console
from offhook.service.delivery import Delivery
from offhook.service.eventgrid import IncomingPost, Subscriptions, SubscriptionState, Watcher
from offhook.service.history import History
from offhook.service.listener import Listener
from offhook.service.live import LiveCall
from offhook.service.metrics import Metrics
from offhook.service.node import Node
from offhook.service.origins import Origins, origin_of
from offhook.service.outside import NodeIdentity
from offhook.service.phones import Phones
from offhook.service.posting import DeliveryReport, Poster
from offhook.service.recording_room import RecordingRoom
from offhook.service.resending import Resending
from offhook.service.revocations import Revocations
from offhook.service.routing import is_name
from offhook.service.sounds import Sounds
from offhook.service.speech_choice import chosen_speech
from offhook.service.stream_port import StreamPort
from offhook.service.streaming import AppStream, MediaStream
from offhook.service.transcription import Transcript, TranscriptStream
from offhook.service.users import Users
from offhook.wire.events import grid_time, subscription_validation
from offhook.wire.signing import TokenIssuer
from offhook.wire.turns import VERSION_HEADER

log = logging.getLogger("offhook")

STOP_TIMEOUT = 5.0
LEGS_TIMEOUT = 1.5
NODE_NUMBER = 1

Tell = Callable[[dict[str, Any]], None]


class LiveNode:
    """A node with everything round it. `start` binds the port; `stop` ends calls, then sockets."""

    def __init__(self, config: Planned, tell: Tell) -> None:
        plan = self.plan = config.plan()
        self.tell = tell
        self.state = State.open(plan.state_dir, names=plan.names, further=plan.further_trust)
        self.take_keys(plan)
        self.clock = SystemClock(asyncio.get_running_loop())
        for watcher in plan.watchers:
            _check_webhook(watcher.url)
        self._tls = client_context(self.state, plan.trust)
        self._origins = Origins(plan.map)
        self._streams: WeakSet[AppStream] = WeakSet()
        identity = NodeIdentity(
            NODE_NUMBER, hashlib.sha256(b"context" + self.state.token_key_pem).digest(), self.state.resource_id
        )
        self.node = Node(self.clock, identity, self, tell=tell, restart_ms=plan.restart_ms, most_calls=plan.most_calls)
        kept = plan.history.days > 0
        self.captures = self.node.captures = Captures(
            self.clock,
            self.node.media,
            self.state.path / "calls",
            keeps_sound=plan.sound and kept,
            keeps_series=kept,
        )
        self._speech = self.node.speech = chosen_speech(plan.speech, plan.targets, self._tls)
        self._sounds = self.node.sounds = Sounds(
            self._tls, self._origins, plan.targets, self._speech, folder=plan.prompts
        )
        self._issuer = TokenIssuer(self.state.token_key, plan.issuer, self.state.resource_id, self.state.token_key_id)
        self._poster = Poster(self._tls, self._origins, targets=plan.targets)
        self._delivery = Delivery(self._poster, self._callback_token, self._report)
        self._subscriptions: Subscriptions | None = None
        self.history = History(self.state.path / "calls", plan.history, self.node.traces, self.clock.wall)
        self.history.audio = audio_of_folder
        again = Resending(self._delivery, self._announce_once)
        self.book = CallBook(self.node.traces, self.history, self.captures, again)
        self.port = 0
        revocations = Revocations(self.state.path / "revoked-tokens", self.clock.wall())
        self.users = Users(self.state.resource_id, self._issuer, revocations, self.clock.wall, os.urandom)
        self.api = Api(
            self.node,
            self._keys,
            self.clock.wall,
            self._issuer,
            lambda request: self.endpoint,
            bearer=None if plan.tokens is None else BearerCheck(plan.tokens, KeyPages(plan.targets, self._tls)),
            users=self.users,
        )
        self.console = Console(
            self.node,
            self.book,
            plan.console if not plan.console.made else replace(plan.console, token=self.state.console_token()),
            self._keys,
            self.describe,
            lambda: (urlsplit(self.endpoint).netloc,),
            network=Network(self._tls, self._origins, plan.targets),
            public_url=plan.public_url,
            known_key=LOCAL_ACCESS_KEY in plan.keys,
        )
        self.recording = RecordingRoom(
            self.node,
            self.api,
            plan.recordings,
            self.state.path,
            endpoint=lambda: self.endpoint,
            tell=self._tell_all,
            network=(self._tls, self._origins, plan.targets),
        )
        self.browsers: Browsers | None = None
        if plan.webrtc is not None:
            self.browsers = Browsers(self.node, self.state.resource_id, identity.context_key, plan.webrtc)
            self.browsers.still, self.browsers.deleted = self.console.guard.still, revocations.deleted
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None
        self._phones: Phones | None = None
        self.metrics = Metrics(self)

    @property
    def phones(self) -> Phones | None:
        """The SIP side, if there is one."""
        return self._phones

    def take_keys(self, plan: NodePlan) -> None:
        """From now on these access keys open the node."""
        self.access_keys = plan.keys or (self.state.access_key,)
        self._raw_keys = tuple(base64.b64decode(key) for key in self.access_keys)

    async def start(self) -> None:
        """Bind the port and begin to validate subscriptions. ConfigError when the port cannot be had."""
        app = web.Application(client_max_size=1024 * 1024, middlewares=[self._heard])
        app.add_routes(self.console.routes())
        app.add_routes([web.get("/eventgrid/validate", self._validate)])
        if self.browsers is not None:
            self.browsers.start()
            phone = self.console.guard.socket(self.browsers.socket)
            app.add_routes([web.get("/console/api/phone", phone)])
        app.add_routes(self.metrics.routes())
        app.add_routes(self.recording.routes(self.console.guard.read))
        app.add_routes(self.console.pages(self.api.handle))
        app.on_response_prepare.append(self.console.dress)
        app.add_routes(self.api.routes())
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        assert self._runner.server is not None
        self._serving = server_context(self.state, self.plan.tls)
        self._listener = Listener(self._runner.server, self._serving, self.plan.host, self.plan.port)
        self.port = await self._listener.start()
        if self.plan.sip is not None:
            self._phones = Phones(self.node, self.state.resource_id, self.tell, self.plan.sip)
        self._subscriptions = Subscriptions(
            self._poster,
            [self._identified(watcher) for watcher in self.plan.watchers],
            endpoint=self.endpoint,
            ids=self.node.mint,
            envelope=self._validation,
            report=self._report,
            changed=self._subscription_changed,
        )
        await self.recording.open()
        self.history.start()
        self.captures.start()
        self.node.find_app = AppPhones(self.node, self._watched).find
        if self._phones is not None:
            await self._phones.start((server_context(self.state, self.plan.tls), self._tls))
        self._subscriptions.start()  # it tells of itself: nothing may be told before everything is ready

    async def drain(self, seconds: float) -> None:
        """Take no new calls, and wait until those that are live have ended, for so long at most."""
        self.node.draining = True
        self.tell({"event": "node", "name": "draining", "calls": len(self.node.calls), "seconds": seconds})
        deadline = self.clock.monotonic() + seconds
        # Calls know no events of a loop to wait for.
        while self.node.calls and self.clock.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """End every call, post what is left to tell, close every socket; bounded in time whatever apps do."""
        streams = list(self._streams)
        self.node.shut_down()
        for stream in streams:
            stream.close()
        await self.recording.close()
        await asyncio.to_thread(self.captures.stop)
        if self._subscriptions is not None:
            await self._subscriptions.close()
        if self.browsers is not None:
            await self.browsers.close()
        legs = asyncio.create_task(self.console.close())
        phones = asyncio.create_task(self._phones.close()) if self._phones is not None else None
        await self._sounds.close()
        await self._speech.close()
        await self._delivery.close(STOP_TIMEOUT)
        await self._poster.close()
        await asyncio.gather(*(stream.closed() for stream in streams), return_exceptions=True)
        await asyncio.wait([legs, *([phones] if phones is not None else [])], timeout=LEGS_TIMEOUT)
        await self.history.close()
        if self._listener is not None:
            await self._listener.close()
        if self._runner is not None:
            await self._runner.shutdown()
            await asyncio.wait([asyncio.create_task(self._runner.cleanup())], timeout=1.0)

    @property
    def endpoint(self) -> str:
        """The base URL as clients know it, ending in '/'."""
        if self.plan.public_url:
            return f"{self.plan.public_url}/"
        return f"https://{self._host}:{self.port}/"

    @property
    def _host(self) -> str:
        """As clients name it: an address that means "all of this machine's" is no place to connect to."""
        host = self.plan.host
        if self.plan.loopback or host in ("0.0.0.0", "::", ""):
            return "localhost"
        return f"[{host}]" if ":" in host else host

    @property
    def _console_url(self) -> str | None:
        """Where a browser sees the console: over http on this machine, for our own CA is none that it trusts."""
        if not self.console.guard.rule.pages:
            return None
        here = self.plan.loopback and not self.plan.public_url
        return f"http://{self._host}:{self.port}/console/" if here else f"{self.endpoint}console/"

    def describe(self) -> dict[str, Any]:
        """The node's status object: the first line of `dev --json`."""
        states = [] if self._subscriptions is None else self._subscriptions.states
        return {
            "connectionString": f"endpoint={self.endpoint};accesskey={self.access_keys[0]}",
            "endpoint": self.endpoint,
            "httpEndpoint": f"http://{self._host}:{self.port}",
            "accessKey": self.access_keys[0],
            "caBundle": str(self.state.ca_bundle),
            "caFile": str(self.state.ca_file if self.plan.tls is None else self.state.ca_bundle),
            "tlsCertificate": None if self.plan.tls is None else str(self.plan.tls[0]),
            "resourceId": self.state.resource_id,
            "issuer": self._issuer.issuer,
            "jwksUri": f"{self.endpoint}calling/keys",
            "openIdConfiguration": f"{self.endpoint}calling/.well-known/acsopenidconfiguration",
            "incoming": [{"url": s.url, "state": s.stage.value, "reason": s.reason} for s in states],
            "sip": None if self._phones is None else self._phones.description,
            "webrtc": None if self.browsers is None else self.browsers.description,
            "consoleUrl": self._console_url,
            "consoleToken": self.console.guard.rule.token if self.plan.console.made else None,
            "version": __version__,
        }

    # Outside ----------------------------------------------------------------------------------------------------

    def deliver(self, connection_id: str, uri: str, body: bytes, event_type: str, event_id: str) -> None:
        """See `Outside`. Of a recording that an app has started and left it still hears, in a lane of its own."""
        lane = uri if self.node.known(connection_id) is None else connection_id
        self._delivery.post(lane, uri, body, event_type, event_id)

    def finish(self, connection_id: str) -> None:
        """See `Outside`."""
        self._delivery.finish(connection_id)

    def announce(self, post: IncomingPost) -> int:
        """See `Outside`."""
        if self._subscriptions is None:
            return 0
        return self._subscriptions.announce(post, self._webhooks(post.callee))

    async def _announce_once(self, post: IncomingPost) -> list[DeliveryReport]:
        names = self._webhooks(post.callee)
        return [] if self._subscriptions is None else await self._subscriptions.once(post, names)

    async def _tell_all(self, post: IncomingPost) -> None:
        if self._subscriptions is not None:
            await self._subscriptions.tell(post)

    def stream(self, live: LiveCall, action: OpenStream, port: StreamPort) -> MediaStream:
        """See `Outside`."""
        stream = MediaStream(
            action.connection_id,
            action.subscription_id,
            self._origins.dial(action.options.transport_url or ""),
            port,
            owner=live,
            dtmf_tones=action.options.dtmf_tones,
            **self._dialling(live, action),
        )
        self._streams.add(stream)
        return stream

    def transcript(self, live: LiveCall, action: OpenTranscription, owner: Transcript) -> TranscriptStream:
        """See `Outside`."""
        stream = TranscriptStream(
            action.connection_id,
            action.subscription_id,
            self._origins.dial(action.options.transport_url or ""),
            locale=action.locale,
            correlation_id=live.call.correlation_id,
            owner=owner,
            **self._dialling(live, action),
        )
        self._streams.add(stream)
        return stream

    # inside -----------------------------------------------------------------------------------------------------

    def _dialling(self, live: LiveCall, action: OpenStream | OpenTranscription) -> dict[str, Any]:
        """What the sockets to apps have in common (protocol.md §2.2)."""
        headers = {
            "x-ms-call-connection-id": action.connection_id,
            "x-ms-call-correlation-id": live.call.correlation_id,
            VERSION_HEADER: __version__,
            **self._origins.headers(action.options.transport_url or ""),
        }
        return {
            "headers": lambda: {"Authorization": f"Bearer {self._stream_token()}", **headers},
            "tls": self._tls,
            "targets": self.plan.targets,
            "clock": self.clock,
        }

    def _identified(self, watcher: Watcher) -> Watcher:
        """With identifiers where its filters have names of SIP: as who is called, and as who calls with its number."""
        phones = self._phones
        if phones is None:
            return watcher

        def known(filters: tuple[str, ...]) -> tuple[str, ...]:
            made = []
            for text in filters:
                each = [phones.identities.identify(text), phones.identities.of(text)] if is_name(text) else []
                made += [identifier.raw_id for identifier in each] or [text]
            return tuple(made)

        return replace(watcher, to=known(watcher.to), from_=known(watcher.from_))

    def _webhooks(self, callee: str) -> tuple[str, ...]:
        """The names of the webhooks that the rule of a called number, or name, sends its calls to; none: to all."""
        phones = self._phones
        if phones is None:
            return ()
        names = [rule.pattern for rule in phones.table.plan.numbers if is_name(rule.pattern)]
        named = {phones.identities.identify(name).raw_id: name for name in names}
        rule = phones.table.number_of(named.get(callee, callee.removeprefix("4:")))
        return () if rule is None else rule.webhooks

    def _watched(self, callee: str, caller: str) -> bool:
        """Whether an app hears of calls between two raw ids."""
        subscriptions = self._subscriptions
        return subscriptions is not None and subscriptions.wants(callee, caller, self._webhooks(callee))

    def _keys(self) -> tuple[bytes, ...]:
        return self._raw_keys

    def _callback_token(self) -> str:
        return self._issuer.callback_token(self.clock.wall(), self.node.mint())

    def _stream_token(self) -> str:
        return self._issuer.stream_token(self.clock.wall(), self.node.mint())

    def _validation(self, code: str, url: str) -> bytes:
        return subscription_validation(
            event_id=self.node.mint(),
            topic=self.node.identity.topic,
            time=grid_time(self.clock.wall()),
            code=code,
            url=url,
        )

    @web.middleware
    async def _heard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Tell the listener that a connection has brought its first request. Who is gone already gets no answer.

        Pages come back at once when their sockets are closed: not to a node that stops.
        """
        if self._listener is not None:
            self._listener.asked(request.protocol)
        if self.node.stopping and request.path.startswith("/console/"):
            return web.Response(status=503, text="The node is stopping.")
        if (refused := self.console.guard.rebound(request)) is not None:
            return refused
        try:
            return await handler(request)
        except ClientConnectionResetError:
            return web.Response()

    async def _validate(self, request: web.Request) -> web.Response:
        subscriptions = self._subscriptions
        query = request.query
        if subscriptions is not None and subscriptions.validate(query.get("id", ""), query.get("code", "")):
            return web.Response(text="The subscription is valid.")
        return web.Response(status=404, text="No subscription has this id and code.")

    def _subscription_changed(self, state: SubscriptionState) -> None:
        self.tell({"event": "subscription", "url": state.url, "state": state.stage.value, "reason": state.reason})

    def _report(self, report: DeliveryReport) -> None:
        """One try of a post: into the figures, and into the trace of its call."""
        if report.reached:
            self.node.app_heard(report.subject)
        elif report.final and report.attempt:
            self.node.app_unreachable(report.subject)
        if report.final:
            refused = report.status is not None and not report.delivered
            self.metrics.posts["delivered" if report.delivered else "refused" if refused else "failed"] += 1
        trace = self.node.traces.find(report.subject)
        if trace is not None:
            self.node.traces.note(
                trace,
                "delivery",
                report.event_type.rpartition(".")[2],
                more={
                    "eventId": report.event_id,
                    "connection": None if report.subject == trace.call_id else report.subject,
                },
                uri=report.uri,
                attempt=report.attempt,
                status=report.status,
                error=report.error,
                ms=round(report.ms, 1),
                final=report.final,
            )


def _check_webhook(url: str) -> None:
    """ConfigError for an `--incoming` that nothing can be posted to."""
    fix = "give the http:// or https:// URL of the app's event route"
    try:
        origin_of(url)
    except ValueError as error:
        raise ConfigError(f"--incoming {url}: {error}; {fix}") from error
    if not url.lower().startswith("http"):
        raise ConfigError(f"--incoming {url}: events are posted over HTTP; {fix}")
