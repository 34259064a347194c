"""Users and their access tokens, as the REST interface takes and gives them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.service.test_api import NOW, Bench, error_in

from offhook.kit import TokenCheck, TokenError
from offhook.service.revocations import Revocations
from offhook.service.users import Users
from offhook.wire.fields import encode
from offhook.wire.identities import IDENTITY_VERSIONS, SCOPES
from offhook.wire.signing import TokenIssuer

RESOURCE = "c727b82c-e91b-4d4e-9d09-e594a936121e"
ISSUER = TokenIssuer(generate_private_key(65537, 2048), "https://issuer.example", RESOURCE, "key-1")
VERSION = "?api-version=2023-10-01"
SOMEBODY = f"8:acs:{RESOURCE}_0e0e0e0e-0000-4000-8000-000000000001"


class UserBench(Bench):
    """The API with users."""

    def __init__(self, path: Path) -> None:
        super().__init__(ISSUER)
        self.path = path
        self.restart()
        self.api._users = self.users

    def restart(self) -> None:
        """What a node that starts with the same state directory knows."""
        self.users = Users(RESOURCE, ISSUER, Revocations(self.path, self.now), lambda: self.now, os.urandom)

    async def ask(self, method: str, path: str, body: bytes | dict[str, Any] = b"") -> ClientResponse:
        return await self.send(method, path + VERSION, body)

    async def new(self, *scopes: str, minutes: int | None = None) -> tuple[str, str]:
        """A user and its token."""
        body: dict[str, Any] = {"createTokenWithScopes": list(scopes or ("voip",)), "expiresInMinutes": minutes}
        answer = await (await self.ask("POST", "/identities", body)).json()
        return answer["identity"]["id"], answer["accessToken"]["token"]

    def refusal(self, token: str) -> str:
        with pytest.raises(TokenError) as caught:
            self.users.verify(f"Bearer {token}")
        return str(caught.value)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[UserBench]:
    made = UserBench(tmp_path / "revoked-tokens")
    await made.client.start_server()
    yield made
    await made.client.close()


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, KeySet.import_key_set(ISSUER.jwks()), algorithms=["RS256"]).claims)  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"createTokenWithScopes":null}', b'{"createTokenWithScopes":[]}'])
async def test_a_user_without_a_token(bench: UserBench, body: bytes) -> None:
    response = await bench.ask("POST", "/identities", body)
    answer = await response.json()
    assert response.status == 201 and list(answer) == ["identity"]
    assert answer["identity"]["id"].startswith(f"8:acs:{RESOURCE}_")
    again = await (await bench.ask("POST", "/identities", body)).json()
    assert again != answer


async def test_a_user_with_a_token(bench: UserBench) -> None:
    body = {"createTokenWithScopes": ["chat", "VOIP", "chat"], "expiresInMinutes": 60}
    response = await bench.ask("POST", "/identities", body)
    answer = await response.json()
    assert response.status == 201
    user, access = answer["identity"]["id"], answer["accessToken"]
    assert access["expiresOn"] == "2026-11-22T13:08:00.0000000+00:00"
    said = claims(access["token"])
    assert {name: said[name] for name in ("skypeid", "scp", "acsScope", "resourceId", "iss", "iat", "exp")} == {
        "skypeid": user.removeprefix("8:"),
        "scp": 1792,
        "acsScope": "chat,voip",
        "resourceId": RESOURCE,
        "iss": "https://issuer.example",
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
    }
    assert bench.users.verify(f"Bearer {access['token']}") == said


async def test_a_token_for_a_user_lives_as_long_as_it_was_asked_to(bench: UserBench) -> None:
    path = f"/identities/{SOMEBODY.replace(':', '%3A')}/:issueAccessToken"
    for minutes, life in ((None, 1440), (60, 60), (1440, 1440)):
        response = await bench.ask("POST", path, {"scopes": ["voip"], "expiresInMinutes": minutes})
        answer = await response.json()
        assert response.status == 200 and sorted(answer) == ["expiresOn", "token"]
        said = claims(answer["token"])
        assert said["exp"] - said["iat"] == life * 60 and said["skypeid"] == SOMEBODY.removeprefix("8:")
    bench.now += 1440 * 60 + 61
    assert "expired" in bench.refusal(answer["token"])


@pytest.mark.parametrize("scope", SCOPES)
async def test_every_scope_is_issued(bench: UserBench, scope: str) -> None:
    assert claims((await bench.new(scope))[1])["acsScope"] == scope


async def test_revoked_tokens_are_void_and_new_ones_are_not(bench: UserBench) -> None:
    user, old = await bench.new()
    _, others = await bench.new()
    response = await bench.ask("POST", f"/identities/{user}/:revokeAccessTokens")
    assert (response.status, await response.text()) == (204, "")
    new = (await (await bench.ask("POST", f"/identities/{user}/:issueAccessToken", {"scopes": ["voip"]})).json())[
        "token"
    ]
    for _ in range(2):
        assert "revoked" in bench.refusal(old)
        assert bench.users.verify(f"Bearer {new}") and bench.users.verify(f"Bearer {others}")
        bench.restart()


async def test_a_deleted_user_has_no_tokens_and_gets_none(bench: UserBench) -> None:
    user, token = await bench.new()
    for _ in range(2):
        assert (await bench.ask("DELETE", f"/identities/{user}")).status == 204, "again, as after a lost answer"
    assert "deleted" in bench.refusal(token)
    bench.restart()
    assert "deleted" in bench.refusal(token)
    for verb, body in (("issueAccessToken", {"scopes": ["chat"]}), ("revokeAccessTokens", b"")):
        message = await error_in(await bench.ask("POST", f"/identities/{user}/:{verb}", body), 404, "7603")
        assert "deleted" in message


@pytest.mark.parametrize(
    "user", ["8:acs:other_1", "8:acs:" + RESOURCE, f"8:acs:{RESOURCE}_a_b", "4:+1555", "x", f"{SOMEBODY}%0A", "%20"]
)
async def test_who_is_no_user_of_this_resource(bench: UserBench, user: str) -> None:
    for method, verb in (("POST", "/:issueAccessToken"), ("POST", "/:revokeAccessTokens"), ("DELETE", "")):
        response = await bench.ask(
            method, f"/identities/{user}{verb}", {"scopes": ["chat"]} if method == "POST" else b""
        )
        assert f"8:acs:{RESOURCE}_" in await error_in(response, 404, "7603")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ["scopes", "voip"]),
        ({"scopes": []}, ["scopes"]),
        ({"scopes": ["video"]}, ["scopes[0]", "video"]),
        ({"scopes": ["voip", 7]}, ["scopes[1]"]),
        ({"scopes": "voip"}, ["scopes", "array"]),
        ({"scopes": ["voip"], "expiresInMinutes": 59}, ["expiresInMinutes", "59", "60"]),
        ({"scopes": ["voip"], "expiresInMinutes": 1441}, ["expiresInMinutes", "1440"]),
        ({"scopes": ["voip"], "expiresInMinutes": "90"}, ["expiresInMinutes", "whole number"]),
        ({"scopes": ["voip"], "expiresInMinutes": True}, ["expiresInMinutes"]),
        ({"scopes": ["voip"], "expiresInMinutes": 90.5}, ["expiresInMinutes"]),
        (b"x", ["JSON"]),
        (b"[]", ["object"]),
    ],
)
async def test_bodies_that_are_refused(bench: UserBench, body: bytes | dict[str, Any], words: list[str]) -> None:
    message = await error_in(await bench.ask("POST", f"/identities/{SOMEBODY}/:issueAccessToken", body), 400, "8523")
    for word in words:
        assert word in message
    if isinstance(body, dict) and body.get("scopes"):
        body = {"createTokenWithScopes": body["scopes"]} | {k: v for k, v in body.items() if k != "scopes"}
        await error_in(await bench.ask("POST", "/identities", body), 400, "8523")


async def test_paths_methods_versions_and_signatures(bench: UserBench) -> None:
    await error_in(await bench.ask("GET", "/identities"), 405, "8520")
    await error_in(await bench.ask("POST", f"/identities/{SOMEBODY}/:sing"), 404, "8522")
    assert "ExchangeTeams" in await error_in(await bench.ask("POST", "/teamsUser/:exchangeAccessToken"), 501, "8520")
    await error_in(await bench.send("POST", "/identities" + VERSION, sign=False), 401, "7509")
    for version in IDENTITY_VERSIONS:
        assert (await bench.send("POST", f"/identities?api-version={version}")).status == 201
    message = await error_in(await bench.send("POST", "/identities?api-version=2026-03-12"), 400, "8523")
    assert "2023-10-01" in message
    assert bench.node.asked == []


async def test_an_api_without_users_does_not_know_the_paths(bench: UserBench) -> None:
    bench.api._users = None
    await error_in(await bench.ask("POST", "/identities"), 404, "8522")


async def test_no_token_passes_for_one_of_another_kind(bench: UserBench) -> None:
    """A user cannot pose as the node before an app, nor the node's own tokens as a user's."""
    _, token = await bench.new()
    app = TokenCheck(RESOURCE, ISSUER.issuer, "https://keys.example", fetch=lambda url: encode(ISSUER.jwks()))
    await app.verify(f"Bearer {ISSUER.callback_token(NOW, 'id')}", NOW)
    with pytest.raises(TokenError, match="is for"):
        await app.verify(f"Bearer {token}", NOW)
    assert "of no user" in bench.refusal(ISSUER.callback_token(NOW, "id"))
    other = TokenIssuer(generate_private_key(65537, 2048), ISSUER.issuer, RESOURCE, "key-1")
    assert "signature" in bench.refusal(other.user_token(NOW, "id", SOMEBODY, ["voip"], 3600))


async def test_what_cannot_be_written_is_no_success(bench: UserBench) -> None:
    user, token = await bench.new()
    bench.path.mkdir()
    await error_in(await bench.ask("POST", f"/identities/{user}/:revokeAccessTokens"), 500, "9999")
    assert "revoked" in bench.refusal(token)
