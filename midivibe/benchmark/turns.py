"""Fair timing on a machine that is never quiet: peers take turns, round after round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def in_turns(peers: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every peer in every round, all of them once in each; a round before warms up.

    A peer that returns a float has timed itself.
    """
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for turn in range(rounds + 1):
        for name, run in peers.items():
            began = time.perf_counter()
            own = run()
            if turn:
                seconds[name].append(own if isinstance(own, float) else time.perf_counter() - began)
    return seconds


__all__ = ["in_turns"]
