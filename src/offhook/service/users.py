"""Users of the resource, as the identity SDKs make them, and the access tokens that they are issued.

A user is an id and nothing else: any id of this resource that was not deleted is one. What is remembered is which
tokens are void (`Revocations`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any, Final

from offhook.errors import CallError
from offhook.service.operations import Operation, paths_of
from offhook.service.revocations import Revocations
from offhook.wire.events import event_time
from offhook.wire.fields import encode, shown
from offhook.wire.identities import AccessToken, CreatedIdentity, CreateIdentityRequest, Identity, IssueTokenRequest
from offhook.wire.models import decode_request
from offhook.wire.signing import TokenIssuer
from offhook.wire.tokens import TokenError, TokenVerifier

_USER: Final = re.compile(r"8:acs:([^_\s]+)_[A-Za-z0-9-]{1,64}", re.ASCII)


class Users:
    """Issues and verifies the tokens of one resource's users."""

    def __init__(
        self,
        resource_id: str,
        issuer: TokenIssuer,
        revocations: Revocations,
        clock: Callable[[], float],
        randomness: Callable[[int], bytes],
    ) -> None:
        """`clock`: Unix seconds."""
        self._resource_id = resource_id
        self._issuer = issuer
        self._revocations = revocations
        self._clock = clock
        self._random = randomness
        self._verifier = TokenVerifier((), issuer.issuer, "/calling/keys")
        self._verifier.take_page(encode(issuer.jwks()))
        self.paths = paths_of(self._operations())

    def create(self, request: CreateIdentityRequest) -> CreatedIdentity:
        """A new user, with a token if scopes are asked for."""
        user = f"8:acs:{self._resource_id}_{self._uuid()}"
        token = self._token(user, request.scopes, request.minutes) if request.scopes else None
        return CreatedIdentity(identity=Identity(id=user), access_token=token)

    def issue(self, user: str, request: IssueTokenRequest) -> AccessToken:
        """A token for a user. CallError `user_not_found`."""
        self._check(user)
        return self._token(user, request.scopes, request.minutes)

    def revoke(self, user: str) -> None:
        """Every token of the user so far is void. CallError `user_not_found`."""
        self._check(user)
        self._revocations.revoke(user, self._clock())

    def delete(self, user: str) -> None:
        """The user and its tokens are no more; once more does no harm. CallError `user_not_found` for no id of ours."""
        self._check(user, deleted_too=True)
        self._revocations.delete(user, self._clock())

    def verify(self, authorization: str | None) -> dict[str, Any]:
        """The claims of a user's token that is valid now. TokenError says why it is not."""
        claims = self._verifier.verify(authorization, self._clock())
        skype_id, issued_at = claims.get("skypeid"), claims.get("iat")
        if not isinstance(skype_id, str) or not isinstance(issued_at, int):
            raise TokenError("the token is of no user")
        user = f"8:{skype_id}"
        if self._revocations.deleted(user):
            raise TokenError("the token's user was deleted")
        if issued_at <= self._revocations.until(user):
            raise TokenError("the token was revoked")
        return claims

    def _token(self, user: str, scopes: tuple[str, ...], minutes: int) -> AccessToken:
        # Seconds are all that a token says of its time: one made right after a revocation is of the next second.
        issued_at = max(int(self._clock()), self._revocations.until(user) + 1)
        token = self._issuer.user_token(issued_at, self._uuid(), user, scopes, minutes * 60)
        return AccessToken(token=token, expires_on=event_time(issued_at + minutes * 60))

    def _check(self, user: str, *, deleted_too: bool = False) -> None:
        known = _USER.fullmatch(user)
        if known is None or known[1] != self._resource_id:
            raise CallError("user_not_found", f"{shown(user)} does not begin with 8:acs:{self._resource_id}_.")
        if not deleted_too and self._revocations.deleted(user):
            raise CallError("user_not_found", f"{shown(user)} was deleted.")

    def _uuid(self) -> str:
        return str(uuid.UUID(bytes=self._random(16), version=4))

    def _operations(self) -> tuple[Operation, ...]:
        one, group = "/identities/{identityId}", "Identities"
        create, issue = CreateIdentityRequest, IssueTokenRequest
        return (
            Operation(group, "CreateIdentity", "POST", "/identities", 201, request=create,
                      run=lambda _, asked: self.create(decode_request(create, asked.body))),
            Operation(group, "DeleteIdentity", "DELETE", one, 204, run=lambda _, asked: self.delete(asked.identity)),
            Operation(group, "IssueAccessToken", "POST", f"{one}/:issueAccessToken", 200, request=issue,
                      run=lambda _, asked: self.issue(asked.identity, decode_request(issue, asked.body))),
            Operation(group, "RevokeAccessTokens", "POST", f"{one}/:revokeAccessTokens", 204,
                      run=lambda _, asked: self.revoke(asked.identity)),
            Operation(group, "ExchangeTeamsUserAccessToken", "POST", "/teamsUser/:exchangeAccessToken", 200),
        )  # fmt: skip
