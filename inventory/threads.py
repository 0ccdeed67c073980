"""Thread pools that do not delay the end of an interrupted command."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def thread_pool(threads: int, name: str = "") -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads, and wait for its work at the end.

    After Ctrl-C or the end of a time budget it does not wait: work that has not begun is dropped,
    and the caller goes on. Work that has begun ends within its limits, or with the process. All
    work in threads is durable step by step, so neither loses anything.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield pool
    except Exception:
        pool.shutdown()
        raise
    except BaseException:
        # KeyboardInterrupt and the end of a time budget: an administrator who interrupts must not
        # wait.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
