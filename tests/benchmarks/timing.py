"""Times of rivals in one process, interleaved, and ratios that a busy machine does not bend.

Each round runs all rivals in turn, in an order drawn anew, and gives one ratio for each pair of
them; the median over all rounds counts. A machine that is slow for a while is slow for both sides
of a ratio. Where memory happens to lie makes differences of several percent, and so does what ran
just before, so all rivals are built a few times over, each time in another order.
"""

import gc
import random
import statistics
import time

BUILDS = 4


def compare(makers, *, count, repeat=1, warm=3):
    """Seconds of one call, by rival, of all rounds; `makers` build what is called."""
    shuffled, times = random.Random(0), {name: [] for name in makers}
    for _ in range(BUILDS):
        runs = {name: makers[name]() for name in shuffled.sample(list(makers), len(makers))}
        for run in runs.values():
            for _ in range(warm):
                run()
        gc.collect()
        gc.disable()
        for _ in range(max(2, count // BUILDS)):
            for name in shuffled.sample(list(makers), len(makers)):
                started = time.perf_counter()
                for _ in range(repeat):
                    runs[name]()
                times[name].append((time.perf_counter() - started) / repeat)
        gc.enable()
    return times


def ratio(times, one, other):
    """How many times as long one takes as the other."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def mean_ratio(times, one, other):
    """The same of the sums, for what costs something in some calls only; the slowest 2 % of each
    are left out, which are the machine's."""
    return _trimmed(times[one]) / _trimmed(times[other])


def _trimmed(values):
    return sum(sorted(values)[: len(values) - len(values) // 50])


def added_ratio(times, one, other, base="plain"):
    """How many times as much one adds to the base as the other adds."""
    return added(times, one, base) / added(times, other, base)


def added(times, one, base="plain"):
    """The seconds that one adds to the base."""
    return statistics.median(a - b for a, b in zip(times[one], times[base], strict=True))
