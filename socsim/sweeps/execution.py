"""Compute the points of a sweep on any executor, and keep them however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import accumulate, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from socsim.errors import SocsimError
from socsim.specs import SweepSpec
from socsim.sweeps.evaluation import Batch, run_batch, surroundings
from socsim.sweeps.loading import load_plan
from socsim.sweeps.plan import Plan
from socsim.sweeps.results import SweepResult, read_sweep
from socsim.sweeps.store import Store

WAITING = 2
"""Batches that are with the executor for each of its workers: one that is computed and one that waits."""

Progress = Callable[[int, int], None]
"""Called with the number of points that are done and how many of them failed, of earlier calls too."""


def sweep(
    spec: Plan | SweepSpec | Mapping[str, Any] | str | Path,
    out: str | Path,
    *,
    executor: Executor | None = None,
    jobs: int | None = None,
    resume: bool = False,
    limit: int | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Simulate every point of a sweep and keep the results in a folder.

    Each point is a pure function of the sweep, so the folder's ``points/`` is the same, byte by byte, however the work is spread and
    however often it is interrupted. A point that fails has the reason in its row.

    Parameters
    ----------
    spec
        A TOML file, the same as nested dictionaries or as a `SweepSpec`, or what `load_plan` made of these.
    out
        Folder of the results.
    executor
        Any executor, such as that of a Dask client; default: processes on this machine, which a script of yours should start under
        ``if __name__ == "__main__":``.
    jobs
        Processes, or workers of the executor; default: one for each core. With 1 and no executor, points are computed in this process.
    resume
        Whether to continue what is in the folder.
    limit
        Stop when at least so many more points are done, which are whole batches.
    progress
        Called at the start and after each batch.

    Raises
    ------
    SocsimError
        The sweep is not right, the folder holds another one or cannot be written, or workers are lost; what is done is kept.
    """
    for name, value in (("jobs", jobs), ("limit", limit)):
        if value is not None and value < 1:
            raise SocsimError(f"{name} {value}: should be 1 or more")
    plan = spec if isinstance(spec, Plan) else load_plan(spec)
    store, workers = Store(Path(out), plan), jobs or available_cores()
    with store.opened(resume=resume):
        numbers = _enough(plan, store.missing(), limit)
        chosen: AbstractContextManager[Executor]
        if executor is not None:
            chosen, window = nullcontext(executor), WAITING * workers + 1
        elif min(workers, len(numbers)) < 2:
            chosen, window = nullcontext(_Here()), 1
        else:
            chosen, window = _processes(min(workers, len(numbers))), WAITING * workers + 1
        with chosen as running:
            _compute(running, plan, numbers, window, _Committer(store, progress))
    return read_sweep(out)


class _Committer:
    """Commits batches and says how far the sweep is."""

    def __init__(self, store: Store, progress: Progress | None) -> None:
        self._store, self._progress = store, progress
        self._done, self._failed = store.counts()
        self._say()

    def __call__(self, batch: Batch) -> None:
        self._store.commit(batch)
        self._done, self._failed = self._done + len(batch.seconds), self._failed + batch.failed
        self._say()

    def _say(self) -> None:
        if self._progress is not None:
            self._progress(self._done, self._failed)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _enough(plan: Plan, missing: Sequence[int], limit: int | None) -> list[int]:
    """Return the first of the batches that are missing, as many as hold a number of points."""
    if limit is None:
        return list(missing)
    held = accumulate((plan.batch_sizes[number] for number in missing), initial=0)
    return [number for number, before in zip(missing, held, strict=False) if before < limit]


def _compute(executor: Executor, plan: Plan, numbers: Iterable[int], window: int, commit: Callable[[Batch], None]) -> None:
    """Compute batches, a bounded number of them at any time, and commit each as soon as it is there."""
    text, client = plan.to_json(), surroundings(plan)
    remaining, pending = iter(numbers), set[Future[Batch]]()
    try:
        while True:
            pending |= {_submitted(executor, text, number, client) for number in islice(remaining, window - len(pending))}
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=_has_failed):  # what is computed is kept, whatever became of others
                commit(_result(future))
    finally:
        for future in pending:
            future.cancel()


def _submitted(executor: Executor, *arguments: Any) -> Future[Batch]:
    """Ask for a batch; an executor that broke since it was last looked at refuses it, which is one more batch that failed."""
    try:
        return executor.submit(run_batch, *arguments)
    except Exception as error:
        refused = Future[Batch]()
        refused.set_exception(error)
        return refused


def _has_failed(future: Future[Batch]) -> bool:
    return future.cancelled() or future.exception() is not None


def _result(future: Future[Batch]) -> Batch:
    """Return what a worker found; executors have many ways to say that they lost it."""
    try:
        return future.result()
    except SocsimError:
        raise
    except ModuleNotFoundError as error:
        raise SocsimError(f"a worker cannot run points: {error}; install phone-socsim there, in the same version") from error
    except (Exception, CancelledError) as error:
        raise SocsimError(
            f"a worker or the way to it was lost ({type(error).__name__}: {str(error) or 'the batch was canceled'}), for want of memory "
            "perhaps; what is done is kept: continue with --resume"
        ) from error


class _Here(Executor):
    """Computes in this process, when it is asked to."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future = Future[Any]()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def _processes(count: int) -> Iterator[Executor]:
    """Start worker processes, which end with this one, whatever ends it."""
    context = multiprocessing.get_context("spawn")  # a fork would copy threads' locks
    reader, writer = context.Pipe(duplex=False)
    pool = _Processes(max(count, 1), mp_context=context, initializer=_begin_worker, initargs=(reader,))
    try:
        yield pool
    except KeyboardInterrupt:
        writer.close()  # no worker goes on: a batch may take minutes
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        writer.close()
        reader.close()


class _Processes(ProcessPoolExecutor):
    """Processes that Ctrl-C does not reach while they start, before they can leave it to their parent: they have the mask of its thread."""

    def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(*arguments, **named)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(*arguments, **named)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(reader: Connection) -> None:
    """Leave Ctrl-C to the parent, and end when it closes its end of the pipe or is no more: an executor's workers would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(reader,), daemon=True).start()


def _end_with(reader: Connection) -> None:
    with suppress(EOFError, OSError):
        reader.recv()  # nothing is ever sent
    os._exit(1)
