"""The peak of memory that a piece of code allocates, from torch's own profiler."""

from torch.autograd.profiler import profile


def peak_bytes(run):
    """The largest sum of what was allocated and not yet freed, above what there was before."""
    run()
    with profile(profile_memory=True) as seen:
        run()
    events = [e for e in seen.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak
