"""A local double of the Realtime API, for tests and examples: both vocabularies, as the `openai` package types them.

It checks each client event against the package's own types and answers mistakes as the service does; it detects turns
by loudness, answers with given sound much faster than real time in deltas of odd length, and notes all it was told.
"""

from tests.kit.realtime_double.answers import Answer, Do, Say, tone
from tests.kit.realtime_double.server import RealtimeDouble
from tests.kit.realtime_double.session import Session

__all__ = ["Answer", "Do", "RealtimeDouble", "Say", "Session", "tone"]
