"""Apps with a token credential, and users with access tokens, against a node of `offhook serve`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from azure.communication.callautomation.aio import CallAutomationClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from tests.conformance.python_sdk import media_streaming
from tests.console_leg import caller
from tests.kit.issued import KEY, OTHER, page
from tests.live import LiveNode, TestApp, dev_node, rest, serve_node, until
from tests.service.config_text import HEAD, written

SCOPE = "https://communication.azure.com//.default"
CLIENT = "11111111-2222-3333-4444-555555555555"
IDENTITIES = "/identities"

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Provider:
    """An issuer such as Entra ID: its key page, and a credential of the SDKs' kind."""

    def __init__(self) -> None:
        self.key, self.page = KEY, page(KEY)
        self.claims: dict[str, Any] = {}
        self.asked: list[tuple[str, ...]] = []
        self.url, self.reads = "", 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Provider]:
        """Serve the page on loopback."""
        server = web.Application()
        server.add_routes([web.get("/keys", self._show)])
        runner = web.AppRunner(server, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _show(self, request: web.Request) -> web.Response:
        self.reads += 1
        return web.Response(body=self.page, content_type="application/json")

    def use(self, key: RSAKey) -> None:
        """Sign with another key from now on, which is the only one of the page."""
        self.key, self.page = key, page(key)

    # the SDK's protocol of asynchronous token credentials

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token as the provider would issue it for these scopes."""
        self.asked.append(scopes)
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": "https://communication.azure.com/",
            "appid": CLIENT,
            "iat": now,
            "exp": now + 3600,
        }
        return AccessToken(jwt.encode({"alg": "RS256", "kid": self.key.kid}, said | self.claims, self.key), now + 3600)

    async def close(self) -> None:
        """Nothing to close."""

    async def __aenter__(self) -> Provider:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


@contextlib.asynccontextmanager
async def world(folder: Path, *clients: str) -> AsyncIterator[tuple[LiveNode, TestApp, Provider]]:
    """A node that takes the tokens of a provider, and the app that its calls go to."""
    app = TestApp()
    async with Provider().running() as provider, app.running():
        text = (
            f'{HEAD}[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\nallow_targets = ["127.0.0.0/8"]\n'
            f'[tokens]\nissuer = "{provider.url}"\njwks_url = "{provider.url}/keys"\nclients = {list(clients)}\n'
            f'[[webhook]]\nurl = "{app.webhook}"\n'
        )
        async with serve_node(written(folder, text)) as node:
            await until(lambda: node.named("subscription"), "validation")
            yield node, app, provider


def client_of(node: LiveNode, provider: Provider) -> CallAutomationClient:
    """The official client with the provider's credential; it sends tokens over https alone."""
    return CallAutomationClient(node.info["endpoint"], provider, connection_verify=node.info["caBundle"])


async def test_a_call_by_an_app_with_a_token(tmp_path: Path) -> None:
    async with world(tmp_path, CLIENT) as (node, app, provider):
        async with client_of(node, provider) as client, caller(node, tone=440) as leg:
            context = (await app.invited())["incomingCallContext"]
            made = await client.answer_call(context, app.callback, media_streaming=media_streaming(app.socket))
            stream = await app.stream(frames=5)
            await stream.play(b"\x01\x02" * 3200)
            await leg.heard_app(5)
            connection = client.get_call_connection(made.call_connection_id or "")
            assert (await connection.get_call_properties()).call_connection_state == "connected"
            await connection.hang_up(is_for_everyone=True)
            await leg.told("ended")
            await app.event("CallDisconnected")
        assert provider.asked and set(provider.asked) == {(SCOPE,)} and provider.reads == 1
        status, _ = await rest(node, "POST", IDENTITIES, api_version="2023-10-01")
        assert status == 201, "the access key opens it as before"


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"aud": "https://graph.example"}, 401, "7501", "is for 'https://graph.example'"),
    ({"iss": "https://elsewhere"}, 401, "7501", "issued by 'https://elsewhere'"),
    ({"exp": 1}, 401, "7501", "expired"),
    ({"appid": "another"}, 403, "7504", "appid 'another'"),
]


async def test_tokens_that_are_refused_and_a_key_that_changes(tmp_path: Path) -> None:
    async with world(tmp_path, CLIENT) as (node, _, provider), client_of(node, provider) as client:
        connection = client.get_call_connection("x")
        for claims, status, code, words in REFUSED:
            provider.claims = claims
            async with client_of(node, provider) as other:
                with pytest.raises(HttpResponseError) as refused:
                    await other.get_call_connection("x").get_call_properties()
            assert isinstance(refused.value, ClientAuthenticationError) == (status == 401)
            assert refused.value.error is not None
            assert (refused.value.status_code, refused.value.error.code) == (status, code)
            assert words in str(refused.value)
        provider.claims = {}
        with pytest.raises(ResourceNotFoundError):
            await connection.get_call_properties()
        provider.use(OTHER)
        for _ in range(3):
            async with client_of(node, provider) as other:
                with pytest.raises(ClientAuthenticationError, match="no key 'two'"):
                    await other.get_call_connection("x").get_call_properties()
        assert provider.reads == 1, "the page is not read for every token that comes along"


async def test_a_node_of_dev_takes_tokens_too(tmp_path: Path) -> None:
    async with (
        Provider().running() as provider,
        dev_node(tmp_path, "--token-issuer", provider.url, "--token-keys", f"{provider.url}/keys") as node,
        client_of(node, provider) as client,
    ):
        with pytest.raises(ResourceNotFoundError):
            await client.get_call_connection("x").get_call_properties()


async def ask(node: LiveNode, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """What azure-communication-identity 1.5.0 sends: its paths, its version, ids percent-encoded."""
    return await rest(node, method, path, body, api_version="2023-10-01")


async def test_files_of_recordings_are_behind_tokens_too(tmp_path: Path) -> None:
    async with world(tmp_path, CLIENT) as (node, _, provider), ClientSession() as session:
        for claims, status in (({}, 200), ({"appid": "another"}, 403)):
            provider.claims = claims
            token = (await provider.get_token()).token
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(f"{node.http}/console/api/recordings", headers=headers) as response:
                assert response.status == status, await response.text()


async def test_users_and_their_tokens(node: LiveNode) -> None:
    """As `create_user`, `create_user_and_token`, `get_token`, `revoke_tokens` and `delete_user` of the SDK ask."""
    status, made = await ask(node, "POST", IDENTITIES)
    assert status == 201 and list(made) == ["identity"]
    user = made["identity"]["id"]
    assert user.startswith(f"8:acs:{node.info['resourceId']}_")
    path = f"{IDENTITIES}/{user.replace(':', '%3A')}"
    status, both = await ask(
        node, "POST", IDENTITIES, {"createTokenWithScopes": ["chat", "voip"], "expiresInMinutes": 90}
    )
    assert status == 201 and both["identity"]["id"] != user
    status, issued = await ask(node, "POST", f"{path}/:issueAccessToken", {"scopes": ["voip"]})
    assert status == 200
    async with ClientSession() as session, session.get(node.http + "/calling/keys") as response:
        keys = KeySet.import_key_set(await response.json())
    lives = []
    for token, owner in ((both["accessToken"]["token"], both["identity"]["id"]), (issued["token"], user)):
        claims = jwt.decode(token, keys, algorithms=["RS256"]).claims
        assert claims["skypeid"] == owner.removeprefix("8:")
        lives.append(claims["exp"] - claims["iat"])
    assert lives == [90 * 60, 24 * 3600]
    assert await ask(node, "POST", f"{path}/:revokeAccessTokens") == (204, None)
    assert await ask(node, "DELETE", path) == (204, None)
    status, error = await ask(node, "POST", f"{path}/:issueAccessToken", {"scopes": ["voip"]})
    assert (status, error["error"]["code"]) == (404, "7603")
