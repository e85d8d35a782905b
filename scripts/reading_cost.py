"""What reading a picture costs: milliseconds by the clock and of the processor, first and later readings, and peak memory.

    python scripts/reading_cost.py PICTURE... [--rounds 20]

Run it with PYTHONPATH at another copy of the code to compare.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

from midivibe.vibe.image import image_vibe

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", metavar="PICTURE")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    times, busy = [], []
    for _ in range(options.rounds):
        for picture in options.pictures:
            begun, used = time.perf_counter(), time.process_time()
            image_vibe(picture)
            times.append(1000 * (time.perf_counter() - begun))
            busy.append(1000 * (time.process_time() - used))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for name, values in (("clock", times), ("processor", busy)):
        later = values[1:]
        print(f"{name}: first {values[0]:.0f} ms, then median {statistics.median(later):.0f} ms, worst {max(later):.0f} ms")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
