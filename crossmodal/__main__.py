"""The entry of `python -m crossmodal`."""

import sys

from crossmodal.cli import main

sys.exit(main())
