"""`python -m greenhttp` is the command."""

import sys

from greenhttp.cli import main

if __name__ == "__main__":
    sys.exit(main())
