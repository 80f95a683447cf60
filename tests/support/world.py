"""Two processes with a gloo group, which run functions of the tests side by side."""

import multiprocessing
import os
import tempfile
import traceback
import warnings
from datetime import timedelta

import torch
import torch.distributed as dist

SIZE = 2


class World:
    """Processes that live as long as their tests are well; started when they are needed."""

    def __init__(self):
        self._pipes, self._processes = [], []

    def run(self, function, *args, timeout=240):
        """Calls `function(rank, *args)` in each process; the results by rank, or an error."""
        if not self._processes:
            self._start()
        for pipe in self._pipes:
            pipe.send((function, args))
        answers = [
            pipe.recv() if pipe.poll(timeout) else ("no answer", None) for pipe in self._pipes
        ]
        faults = [fault for fault, _ in answers if fault]
        if faults:
            self.stop()
            raise AssertionError("\n".join(faults))
        return [result for _, result in answers]

    def stop(self):
        """Ends the processes."""
        for process in self._processes:
            process.kill()
            process.join()
        self._pipes, self._processes = [], []

    def _start(self):
        context = multiprocessing.get_context("spawn")
        meeting = tempfile.mkdtemp()
        for rank in range(SIZE):
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, rank, meeting), daemon=True)
            process.start()
            self._pipes.append(here)
            self._processes.append(process)


def serve(pipe, rank, meeting):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(SIZE))
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}/store",
        rank=rank,
        world_size=SIZE,
        timeout=timedelta(seconds=60),
    )
    while True:
        function, args = pipe.recv()
        torch.manual_seed(0)
        try:
            pipe.send((None, function(rank, *args)))
        except Exception:  # noqa: BLE001 (handed to the test)
            pipe.send((f"rank {rank}: {traceback.format_exc()}", None))
        torch._dynamo.reset()
