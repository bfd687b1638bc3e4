"""Work in processes of its own: fresh interpreters that answer over pipes."""

import contextlib
import multiprocessing
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

_DONE, _REFUSED, _DEFECT = "done", "refused", "defect"


@contextlib.contextmanager
def started(work: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """A process that runs `work(pipe, *arguments)`, ended with the block; yields our end."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, *arguments), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        process.join(timeout=10)
        if process.is_alive():
            process.terminate()
            process.join()


def ask(pipe: Connection, question: Any = None) -> Any:
    """Sends a question, if there is any, and waits for the answer.

    Raises:
      ValueError: the process refused.
      RuntimeError: it failed, or ended without a word, as for want of memory.
    """
    if question is not None:
        pipe.send(question)
    try:
        kind, value = pipe.recv()
    except EOFError:
        raise RuntimeError("a measuring process was ended; was memory short?") from None
    if kind == _REFUSED:
        raise ValueError(value)
    if kind == _DEFECT:
        raise RuntimeError(value)
    return value


def answer(pipe: Connection, value: Any) -> None:
    """In the process: one answer."""
    pipe.send((_DONE, value))


@contextlib.contextmanager
def failures_told(pipe: Connection) -> Iterator[None]:
    """In the process: what goes wrong within becomes the answer, and the other end's error."""
    try:
        yield
    except EOFError:  # The parent is gone: nobody is there to be told.
        pass
    except (ValueError, OSError) as error:
        pipe.send((_REFUSED, str(error)))
    except Exception:
        pipe.send((_DEFECT, traceback.format_exc()))
