"""python -m midivibe"""

import sys

from midivibe.cli import main

if __name__ == "__main__":
    sys.exit(main())
