"""Code that blocks, on an event loop: written once, it waits there without holding the loop up.

    await run(collection.get, ids)   a call as a coroutine
    wait(client.send(request))       inside of it: the loop does other work until the answer is here
    apart(function, texts)           inside of it: a thread does what would hold the loop up

This is the technique of SQLAlchemy's asyncio extension. `run` starts the call on a stack of its
own, a greenlet. `wait` leaves that stack with something to await, which the coroutine does, and
comes back with its result. So one class serves both kinds of callers, and there is no second one
to keep in step with the first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

P = ParamSpec("P")
R = TypeVar("R")

# The stacks of the calls that `run` has not yet finished.
_stacks: WeakSet[object] = WeakSet()


async def run(call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Makes a call that may `wait`. To cancel the task ends the call where it waits."""
    from greenlet import getcurrent, greenlet  # programs without an event loop do not need it

    stack = greenlet(call)
    stack.gr_context = getcurrent().gr_context  # the task's context variables are the call's
    _stacks.add(stack)
    step: Any = stack.switch(*args, **kwargs)
    while not stack.dead:
        try:
            answer = await step
        except BaseException as error:  # cancelling, too, is for the call to clean up after
            step = stack.throw(error)
        else:
            step = stack.switch(answer)
    result: R = step
    return result


def wait(awaitable: Awaitable[R]) -> R:
    """What the awaitable gives. Only for code that `run` has called."""
    from greenlet import getcurrent

    stack = getcurrent()
    if stack not in _stacks or stack.parent is None:
        raise RuntimeError("This is a client for an event loop: await its methods there")
    result: R = stack.parent.switch(awaitable)
    return result


def apart(call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Makes a call that blocks: in a thread where the loop would be held up, else right here."""
    if not inside():
        return call(*args, **kwargs)
    from asyncio import to_thread

    return wait(to_thread(call, *args, **kwargs))


def inside() -> bool:
    """Whether this code may `wait`: `run` has called it."""
    if not _stacks:
        return False
    from greenlet import getcurrent

    return getcurrent() in _stacks


# The loop on whose behalf a thread makes a call.
home: ContextVar[Any] = ContextVar("home", default=None)


def awaited(result: Any) -> Any:
    """What a call gives that may be a coroutine, which runs on the caller's loop if there is one.

    Without a loop it gets one of its own, for as long as it takes.
    """
    import inspect

    if not inspect.isawaitable(result):
        return result
    if inside():
        return wait(result)
    import asyncio

    if home.get() is not None:
        return asyncio.run_coroutine_threadsafe(_as_coroutine(result), home.get()).result()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_as_coroutine(result))
    # A client that blocks, used on a loop: another thread has to do it.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _as_coroutine(result)).result()


async def _as_coroutine(awaitable: Awaitable[R]) -> R:
    return await awaitable
