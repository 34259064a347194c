"""The book of calls on a real node in this process: pages of live and kept calls, lists, listening, sending again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.live import TestApp, rest_of, until

from offhook.errors import CallError
from offhook.legs.leg import LegEnd
from offhook.service.config import DevConfig
from offhook.service.process import LiveNode
