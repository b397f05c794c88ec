"""Blocking code that waits on an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from vermilion import bridge


async def later(value: int) -> int:
    await asyncio.sleep(0)
    return value


def twice(value: int) -> int:
    return bridge.wait(later(value)) + bridge.wait(later(value))


def test_a_call_waits_and_returns() -> None:
    assert asyncio.run(bridge.run(twice, 21)) == 42


def test_a_call_that_never_waits() -> None:
    assert asyncio.run(bridge.run(len, "four")) == 4


def test_calls_run_beside_each_other() -> None:
    async def main() -> list[int]:
        barrier = asyncio.Barrier(100)

        def meet(number: int) -> int:
            bridge.wait(barrier.wait())  # passes only when all hundred are waiting
            return number

        return await asyncio.gather(*[bridge.run(meet, number) for number in range(100)])

    assert asyncio.run(main()) == list(range(100))


def test_what_is_raised_while_waiting_is_raised_in_the_call() -> None:
    async def fail() -> None:
        raise OSError("no answer")

    def call() -> str:
        try:
            bridge.wait(fail())
        except OSError as error:
            return f"{error}, but {bridge.wait(later(7))}"
        return "nothing was raised"

    assert asyncio.run(bridge.run(call)) == "no answer, but 7"


def test_what_the_call_raises_is_raised_to_the_task() -> None:
    def call() -> None:
        bridge.wait(later(1))
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(bridge.run(call))


def test_cancelling_ends_the_call_where_it_waits() -> None:
    seen = []

    async def main() -> None:
        reached, forever = asyncio.Event(), asyncio.Event()

        async def wait_for_ever() -> None:
            reached.set()
            await forever.wait()

        def call() -> None:
            try:
                bridge.wait(wait_for_ever())
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            finally:
                seen.append("cleaned up")

        task = asyncio.create_task(bridge.run(call))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["cancelled", "cleaned up"]


def test_context_variables_are_those_of_the_task() -> None:
    variable = contextvars.ContextVar("variable", default="nothing")

    async def main() -> str:
        variable.set("something")
        await bridge.run(lambda: variable.set(variable.get() + " more"))
        return variable.get()

    assert asyncio.run(main()) == "something more"


def test_waiting_elsewhere_says_what_is_wrong() -> None:
    coroutine = later(1)
    with pytest.raises(RuntimeError, match="await its methods"):
        bridge.wait(coroutine)
    coroutine.close()


def test_apart_is_another_thread_only_on_a_loop() -> None:
    here = threading.get_ident()
    assert bridge.apart(threading.get_ident) == here
    assert asyncio.run(bridge.run(bridge.apart, threading.get_ident)) != here


def test_the_loop_goes_on_while_a_thread_works() -> None:
    async def main() -> bool:
        event = threading.Event()
        task = asyncio.create_task(bridge.run(bridge.apart, event.wait, 60))
        await asyncio.sleep(0)
        event.set()  # reached only if the loop is not held up
        return await task

    assert asyncio.run(main())
