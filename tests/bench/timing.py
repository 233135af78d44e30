"""Times two ways to the same result, side by side."""

import statistics
import time
from collections.abc import Callable


def time_pair(
    ours: Callable[[], object], theirs: Callable[[], object], n_repeats: int = 15
) -> dict[str, float]:
    """Returns the median seconds of both as ours_s, theirs_s and ratio (theirs / ours).

    Each is called once before (compilation, caches), then in turn, so that a busy moment of the
    machine hits both.
    """
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    calls = {"ours": ours, "theirs": theirs}
    for call in calls.values():
        call()
    for _ in range(n_repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    ours_s, theirs_s = (statistics.median(values) for values in seconds.values())
    return {"ours_s": ours_s, "theirs_s": theirs_s, "ratio": theirs_s / ours_s}
