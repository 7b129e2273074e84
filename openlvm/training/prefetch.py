"""Work done one step ahead in a thread, so that reading codes and pictures hides behind the forward and backward."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def prefetch(
    function: Callable[[Argument], Result], arguments: Iterable[Argument], *, depth: int = 2
) -> Generator[tuple[Argument, Result], None, None]:
    """Yield (argument, function(argument)) in order, at most `depth` calls ahead, all in one thread.

    What `function` raises is raised where its result would have been yielded. Leaving early waits for the call that
    is under way.
    """
    waiting: list[tuple[Argument, Future[Result]]] = []
    remaining = iter(arguments)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as pool:
        try:
            for argument in remaining:
                waiting.append((argument, pool.submit(function, argument)))
                if len(waiting) > depth:
                    done, result = waiting.pop(0)
                    yield done, result.result()
            for done, result in waiting:
                yield done, result.result()
        finally:
            pool.shutdown(cancel_futures=True)


def timed(work: Iterator[Result]) -> Iterator[tuple[Result, float]]:
    """Yield (item, seconds that were waited for it)."""
    while True:
        start = time.perf_counter()
        try:
            item = next(work)
        except StopIteration:
            return
        yield item, time.perf_counter() - start
