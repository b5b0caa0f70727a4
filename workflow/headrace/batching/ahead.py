"""Threads that work ahead, and memory that is used again."""

from __future__ import annotations

import math
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, Self, TypeVar

import numpy as np

T = TypeVar("T")


class Buffers:
    """Memory that is used again when nothing looks at it any more: fresh pages cost as much as what is put there."""

    def __init__(self, most: int) -> None:
        """At most `most` of a kind are remembered."""
        self._most, self._lock = most, threading.Lock()
        self._kept: dict[str, list[np.ndarray]] = {}

    def take(self, kind: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array whose content is anything. It is never handed out again while a view of it, or a tensor, lives."""
        size = math.prod(shape) * dtype.itemsize
        with self._lock:
            kept = self._kept.setdefault(kind, [])
            place = next((i for i in range(len(kept)) if _references(kept, i) == IDLE and kept[i].nbytes >= size), None)
            if place is None:
                # Somewhat more than asked for: the next one may be a little larger.
                kept.append(np.empty(size + size // 8, np.uint8))
                del kept[: -self._most]
                place = -1
            array: np.ndarray = kept[place][:size].view(dtype).reshape(shape)
            return array


def _references(kept: list[np.ndarray], place: int) -> int:
    # Every view holds the owner of the memory itself, not the view that it was made from.
    return sys.getrefcount(kept[place])


IDLE = _references([np.empty(1)], 0)


class Job(Generic[T]):
    """Something that a thread does. Lighter than a Future, of which there would be thousands a second."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._busy = threading.Lock()
        self._busy.acquire()
        self._results: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do it."""
        try:
            self._results.append(self._call())
        except BaseException as error:
            self._error = error
        # What it was done with may be needed for something else.
        del self._call
        self._busy.release()

    def result(self) -> T:
        """Wait until it is done; for once."""
        self._busy.acquire()
        if self._error is not None:
            raise self._error
        return self._results.pop()


class Workers:
    """Threads that do what is wanted soon before what is wanted later."""

    def __init__(self, threads: int) -> None:
        self._soon: deque[Job[Any]] = deque()
        self._later: deque[Job[Any]] = deque()
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"read-{i}", daemon=True) for i in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._soon.clear()
        self._later.clear()
        for _thread in self._threads:
            self._calls.put(False)
        for thread in self._threads:
            thread.join()

    def do(self, call: Callable[[], T], *, soon: bool) -> Job[T]:
        """Have something done."""
        job = Job(call)
        (self._soon if soon else self._later).append(job)
        self._calls.put(True)
        return job

    def _work(self) -> None:
        while self._calls.get():
            for waiting in (self._soon, self._later):
                # Another thread may be faster, or nothing is wanted any more.
                with suppress(IndexError):
                    waiting.popleft().run()
                    break
