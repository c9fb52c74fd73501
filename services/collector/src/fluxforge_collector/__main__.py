"""`python -m fluxforge_collector`."""

import sys

from fluxforge_collector.main import main

sys.exit(main())
