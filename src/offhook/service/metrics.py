"""`/healthz` and `/metrics`: figures only, so that nobody needs a key to read them (docs/serve.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from offhook.legs.rtp import RtpPort

if TYPE_CHECKING:
    from offhook.service.process import LiveNode

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics(Collector):
    """What a running node shows of itself, read when it is asked for."""

    def __init__(self, node: LiveNode) -> None:
        self.posts: Counter[str] = Counter()
        """Posts to apps by how they ended: delivered, refused, failed."""
        self._running = node
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def routes(self) -> list[web.RouteDef]:
        """The two pages."""
        return [web.get("/healthz", self._health), web.get("/metrics", self._show)]

    def describe(self) -> list[Metric]:
        """Nothing beforehand: what there is depends on the node."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All figures as of now."""
        node, media = self._running.node, self._running.node.media
        ports = [leg.port for live in node.calls.values() for leg in live.legs.values()]
        rtp = [port for port in ports if isinstance(port, RtpPort)]
        yield GaugeMetricFamily("offhook_calls", "Live calls", len(node.calls))
        yield GaugeMetricFamily("offhook_draining", "1 while no new calls are taken", float(node.draining))
        yield CounterMetricFamily("offhook_calls_taken", "Calls taken or placed", node.calls_taken)
        yield CounterMetricFamily("offhook_ticks", "Ticks of the 20 ms clock", media.ticks)
        yield CounterMetricFamily("offhook_tick_seconds", "Time spent inside ticks", media.busy)
        yield CounterMetricFamily("offhook_clock_slips", "Ticks that were left out: audio was lost", media.slips)
        yield GaugeMetricFamily("offhook_rtp_streams", "RTP streams", len(rtp))
        yield GaugeMetricFamily("offhook_rtp_lost_packets", "Lost packets of live calls", sum(_lost(rtp)))
        delay = sum(port.jitter.delay for port in rtp) / len(rtp) if rtp else 0.0
        yield GaugeMetricFamily("offhook_jitter_delay_seconds", "Mean delay of the jitter buffers", delay)
        trips = [port.reports.figures.round_trip for port in rtp]
        known = [trip for trip in trips if trip is not None]
        mean = sum(known) / len(known) if known else 0.0
        yield GaugeMetricFamily("offhook_rtp_round_trip_seconds", "Mean round trip that reports tell of", mean)
        recordings = self._running.recording.recordings
        yield GaugeMetricFamily("offhook_recordings", "Recordings under way", recordings.running)
        yield CounterMetricFamily("offhook_recorded_bytes", "Bytes of sound recorded", recordings.bytes_written)
        failures = recordings.failures
        yield CounterMetricFamily("offhook_recordings_failed", "Recordings that the disk did not take", failures)
        posts = CounterMetricFamily("offhook_posts", "Posts to apps by outcome", labels=["outcome"])
        for outcome in ("delivered", "refused", "failed"):
            posts.add_metric([outcome], self.posts[outcome])
        yield posts
        yield from self._sip()

    def _sip(self) -> Iterator[Metric]:
        phones = self._running.phones
        if phones is None:
            return
        messages = CounterMetricFamily("offhook_sip_messages", "SIP messages that came in", labels=["kind"])
        for kind in ("requests", "responses", "garbage", "refused", "stray", "unheard"):
            messages.add_metric([kind], getattr(phones.trunk.endpoint.counters, kind))
        yield messages
        trunks = GaugeMetricFamily("offhook_trunk_registered", "1 while registered", labels=["trunk"])
        live = GaugeMetricFamily("offhook_limited_calls", "Live calls by the rule that limits them", labels=["rule"])
        for gateway in phones.gateways:
            if gateway.registered is not None:
                trunks.add_metric([gateway.rule.name], float(gateway.registered.registered))
        for rule, count in phones.table.live.items():
            live.add_metric([rule], count)
        yield trunks
        yield live

    async def _health(self, request: web.Request) -> web.Response:
        node = self._running.node
        if node.stopping or node.draining:
            return web.Response(status=503, text="draining\n")
        if node.overloaded:
            return web.Response(status=503, text="overloaded\n")
        return web.Response(text="ok\n")

    async def _show(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE})


def _lost(ports: list[RtpPort]) -> Iterator[int]:
    return (port.jitter.counters.lost for port in ports)
