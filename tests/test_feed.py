"""Every listener hears every event in order; a slow one loses its oldest and holds nobody up."""

from __future__ import annotations

import asyncio

from favor_stream.feed import Feed, Listener
from favor_stream.records import Event


def event(number: int) -> Event:
    return Event("perceived", float(number), str(number))


def test_slow_listener_loses_its_oldest_and_is_told_how_many() -> None:
    async def run() -> None:
        feed = Feed(keep=3)
        slow, other = feed.listen(), feed.listen()
        for number in range(5):
            feed.publish(event(number))
        other_first = await anext(other)
        feed.close()
        assert [e.text async for e in slow] == ["2", "3", "4"]
        assert slow.dropped == 2
        assert other_first.text == "2"

    asyncio.run(run())


def test_listener_hears_what_comes_after_it_began_and_ends_with_the_feed() -> None:
    async def run() -> None:
        feed = Feed()
        feed.publish(event(0))
        listener = feed.listen()
        heard = asyncio.create_task(collect(listener))
        await asyncio.sleep(0)
        feed.publish(event(1))
        feed.close()
        assert await heard == ["1"]

    asyncio.run(run())


async def collect(listener: Listener) -> list[str]:
    return [e.text async for e in listener]


def test_listener_that_left_gets_nothing_more_and_ends_while_the_feed_goes_on() -> None:
    async def run() -> None:
        feed = Feed()
        listener = feed.listen()
        hearing = asyncio.create_task(collect(listener))
        await asyncio.sleep(0)
        listener.close()
        feed.publish(event(1))
        async with asyncio.timeout(5):
            assert await hearing == []

    asyncio.run(run())


def test_listener_of_a_closed_feed_ends_at_once() -> None:
    async def run() -> None:
        feed = Feed()
        feed.close()
        async with asyncio.timeout(5):
            assert await collect(feed.listen()) == []

    asyncio.run(run())
