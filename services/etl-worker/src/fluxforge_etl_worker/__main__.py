"""`python -m fluxforge_etl_worker`."""

import sys

from fluxforge_etl_worker.main import main

if __name__ == "__main__":
    sys.exit(main())
