"""What we say that we can do: methods and extensions (RFC 3261 §§20.5, 20.37)."""

from __future__ import annotations

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, NOTIFY"
EXTENSIONS = ("timer", "100rel", "replaces")
"""RFC 4028, RFC 3262, RFC 3891: offered in every call, and what a request may require (RFC 3261 §8.2.2.3)."""
SUPPORTED = ", ".join(EXTENSIONS)
