"""`python -m fluxforge_segmenter`."""

import sys

from fluxforge_segmenter.main import main

sys.exit(main())
