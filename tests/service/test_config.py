"""The options of `offhook dev` made into a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from offhook.errors import ConfigError
from offhook.service.bearer import TokenRule
from offhook.service.config import DevConfig


def test_a_folder_of_prompts(tmp_path: Path) -> None:
    assert DevConfig().plan().prompts is None
    assert DevConfig(prompts=tmp_path).plan().prompts == tmp_path
    with pytest.raises(ConfigError, match="--prompts .*none: there is no such folder"):
        DevConfig(prompts=tmp_path / "none").plan()


def test_bearer_tokens_of_dev() -> None:
    assert DevConfig().plan().tokens is None
    plan = DevConfig(token_issuer="https://login/t", token_keys="http://localhost:1/keys").plan()
    assert plan.tokens == TokenRule("https://login/t", "http://localhost:1/keys")


@pytest.mark.parametrize(
    ("issuer", "keys", "words"),
    [
        ("https://login/t", "", "belong together"),
        ("", "https://login/keys", "belong together"),
        ("https://login/t", "http://login/keys", "--token-keys http://login/keys"),
        ("https://login/t", "keys", "https://"),
    ],
)
def test_bearer_tokens_that_nothing_can_be_checked_by(issuer: str, keys: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DevConfig(token_issuer=issuer, token_keys=keys).plan()
