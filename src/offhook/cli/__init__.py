"""The command line: one file a verb, each imported only when it is run, so that `offhook --help` is quick.

Exit status 2 is a usage or configuration error, told in one line on stderr (architecture.md, Errors).
"""

from __future__ import annotations

import os
import sys

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit status. `argv` is without the program's name; default `sys.argv[1:]`."""
    for name in _ONE_THREAD:  # numpy reads these at import; its threads have no place beside the media clock
        os.environ.setdefault(name, "1")
    try:
        from offhook.cli.app import run
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] == "offhook":
            raise
        print(
            f"offhook: the command line needs {missing.name}: run  pip install 'offhook[server]'",
            file=sys.stderr,
        )
        return 2
    return run(sys.argv[1:] if argv is None else argv)
