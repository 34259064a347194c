"""Shared by all tests: markers, Hypothesis profiles, free ports, and which tests a plain run leaves out."""

from __future__ import annotations

import gc
import os

# As in the service: numpy's own threads only wait for each other on the small products here, and take the processor.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import random
import signal
import socket
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from tests import stillness

from tools import js_sdk, sip_peers

MARKERS = {
    "soak": "a long run; left out unless asked for (make soak)",
    "js": "needs Node.js and the official JavaScript SDK (tests/conformance/js)",
    "interop": "needs a program that is not part of Python, found on PATH",
    "judged": "a call is judged by its sound: again where the machine stood still in it (tests/stillness.py)",
}

settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background jobs ignore it, and what a test starts inherits that: then no test could interrupt it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves soak tests out unless the -m expression names them."""
    if "soak" in config.option.markexpr:
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in soak]


def pytest_collection_finish() -> None:
    """What was loaded stays out of the collector's sight: looking at all of it takes up to 100 ms, and holds the apps
    in this process, whose calls are judged by their sound."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A call that fails while the machine stood still says nothing of what it tests: it is placed again, and told."""
    return stillness.judge(item, nextitem) if item.get_closest_marker("judged") else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test of the JavaScript SDK is skipped where the SDK is not installed, and fails there on CI."""
    if item.get_closest_marker("js") and not js_sdk.is_installed():
        reason = "the JavaScript SDK is not installed; `make test` installs it where Node.js is available"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    if item.get_closest_marker("interop") and (missing := sip_peers.missing()):
        reason = f"{', '.join(missing)} not found; `make test` installs them where it can"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that returns a port of 127.0.0.1 that nobody holds, a different one each time.

    It and the next one are free on TCP and UDP (baresip takes the next for TLS), and both lie below the ports that
    systems give to outgoing connections, so that nothing takes them before their program does. Browsers open all of
    them (not 10080, which is a bad port of the Fetch standard).
    """
    candidates = iter(range(10000 + 2 * random.SystemRandom().randrange(2000), 19998, 2))

    def find() -> int:
        return next(port for port in candidates if port != 10080 and _is_free(port) and _is_free(port + 1))

    return find
