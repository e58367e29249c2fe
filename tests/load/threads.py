"""Servers that a test runs in a thread of their own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def in_thread(serve: Callable[[threading.Event], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """Run a coroutine on a loop in a thread until the end of the context.

    Args:
        serve: Sets the event once it listens, and goes on until it is cancelled.
    """
    ready, loop = threading.Event(), asyncio.new_event_loop()
    task = loop.create_task(serve(ready))

    def work() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        if left := asyncio.all_tasks(loop):
            for one in left:
                one.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(5)
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)
