"""`python -m synesthete.cli`, where the command itself is not on the path."""

import sys

from synesthete.cli import main

sys.exit(main())
