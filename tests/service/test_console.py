"""The console's routes and its page in the documentation: the same ones."""

from __future__ import annotations

import re
from pathlib import Path

from offhook.service.config import DevConfig
from offhook.service.process import LiveNode

PAGE = Path(__file__).parents[2] / "docs" / "console.md"


async def test_every_route_is_documented_and_every_documented_one_is_there(tmp_path: Path) -> None:
    node = LiveNode(DevConfig(port=0, state_dir=tmp_path), lambda event: None)
    await node.start()
    try:
        assert node._runner is not None
        routes = {
            (route.method, route.resource.canonical)
            for route in node._runner.app.router.routes()
            if route.resource is not None and route.method not in ("HEAD", "*")
        }
    finally:
        await node.stop()
    registered = {f"{method} {path}" for method, path in routes if path.startswith("/console/api/")}
    documented = set(re.findall(r"`((?:GET|POST) /console/api/[^` ]*)`", PAGE.read_text()))
    assert registered == documented
