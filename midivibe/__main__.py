"""python -m midivibe"""

import os
import sys

from midivibe.cli import main

if __name__ == "__main__":
    status = main()
    if os.environ.get("WORLD_SIZE", "1") != "1":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # gloo's threads now and then abort a worker that ends in the usual way
    sys.exit(status)
