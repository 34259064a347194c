"""The environment that points an unchanged ACS app at a node, as `offhook exec` sets it (protocol.md section 4.1).

Python's SDK reads SSL_CERT_FILE (async) and REQUESTS_CA_BUNDLE (sync), which replace the usual roots, so they name the
bundle of public roots and our CA; Node adds NODE_EXTRA_CA_CERTS to its roots, so it names our CA alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offhook.errors import ConfigError

_FROM_STATUS = {
    "ACS_CONNECTION_STRING": "connectionString",
    "ACS_ENDPOINT": "endpoint",
    "ACS_ACCESS_KEY": "accessKey",
    "ACS_RESOURCE_ID": "resourceId",
    "ACS_TOKEN_ISSUER": "issuer",
    "ACS_JWKS_URI": "jwksUri",
    "SSL_CERT_FILE": "caBundle",
    "REQUESTS_CA_BUNDLE": "caBundle",
    "NODE_EXTRA_CA_CERTS": "caFile",
}

VARIABLES = tuple(_FROM_STATUS)
TRUST_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


def environment(status: Mapping[str, Any]) -> dict[str, str]:
    """The variables for an app, from the node's status object. Raises ConfigError when the node did not give one."""
    absent = sorted({key for key in _FROM_STATUS.values() if not isinstance(status.get(key), str)})
    if absent:
        raise ConfigError(f"the node's status lacks {', '.join(absent)}: is it an Offhook node of this version?")
    return {name: status[key] for name, key in _FROM_STATUS.items()}
