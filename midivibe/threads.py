"""Work that goes on side by side in one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event


def side_by_side(loops: Sequence[Iterator[object]]) -> None:
    """Run loops to their ends, each in a thread of its own; an error or Ctrl-C in one stops all."""
    stop = Event()

    def run(loop: Iterator[object]) -> None:
        try:
            for _ in loop:
                if stop.is_set():
                    return
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(max(1, len(loops) - 1)) as pool:
        others = [pool.submit(run, loop) for loop in loops[1:]]
        try:
            run(loops[0])
            for other in others:
                other.result()
        except BaseException:  # Ctrl-C may come while the others are waited for
            stop.set()
            raise
