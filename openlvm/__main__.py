"""`python -m openlvm` is the command `openlvm`."""

import sys

from openlvm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
