"""`python -m offhook.cli`: the same program as the `offhook` script; the demo starts its children with it."""

import sys

from offhook.cli import main

if __name__ == "__main__":
    sys.exit(main())
