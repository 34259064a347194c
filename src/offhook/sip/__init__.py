"""How calls are signalled: SIP as pure machines; bytes and the time in, bytes and events out (RFC 3261)."""
