"""The book of calls on a real node in this process: pages of live and kept calls, lists, listening, sending again."""

from __future__ import annotations


