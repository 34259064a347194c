"""The environment of an app as a person types it (`offhook.service.app_environment` has the variables)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from offhook.service.app_environment import VARIABLES, environment

__all__ = ["VARIABLES", "environment", "export_lines"]


def export_lines(variables: Mapping[str, str]) -> list[str]:
    """One `export NAME=value` line a variable, quoted for a POSIX shell."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
