"""`python -m fluxforge_compactor`."""

import sys

from fluxforge_compactor.main import main

if __name__ == "__main__":
    sys.exit(main())
