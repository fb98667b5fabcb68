"""Looking at a broker from outside: what agents tell it, and taking a device off it. It knows topics, and no agent."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import replace

import aiomqtt

from favor_stream.errors import DeviceError
from favor_stream.mqtt import connected, discovery_topic
from favor_stream.outlets import Broker

OLDEST = "3.1.1"  # which every broker speaks
AGAIN_S = 0.5  # before a broker that is not there is tried again
QUIET_S = 1.0  # without a retained message: there are no more


def run(broker: Broker, json_out: bool) -> int:
    """Prints every event of every agent on the broker, a line each, until Ctrl-C."""
    asyncio.run(_follow(broker, json_out))
    return 0


async def _follow(broker: Broker, json_out: bool) -> None:
    """Waits for a broker that is not there, or not there any more."""
    is_told = False
    while True:
        try:
            async with connected(replace(broker, protocol=OLDEST)) as client:
                is_told = False
                await client.subscribe(f"{broker.root}/+/event/+", qos=1)
                async for message in client.messages:
                    with suppress(ValueError, KeyError, TypeError, RecursionError):  # somebody else's message
                        print(_line(message, json_out), flush=True)
        except aiomqtt.MqttError as error:
            if not is_told:
                print(f"waiting for a broker at {broker.url} ({error})", file=sys.stderr, flush=True)
            is_told = True
            await asyncio.sleep(AGAIN_S)


def _line(message: aiomqtt.Message, json_out: bool) -> str:
    assert isinstance(message.payload, bytes)
    told = json.loads(message.payload)
    device = message.topic.value.split("/")[1]
    line = f"{told['t_captured']}  {device}  [{told['phase']}] {told['summary']}  {told['description']}"
    return json.dumps(told) if json_out else line


def remove(broker: Broker) -> int:
    """Empties every topic that the device has left on the broker, so that no ghost of it stays."""
    print(f"emptied {asyncio.run(_remove(broker))} topics of {broker.topic}")
    return 0


async def _remove(broker: Broker) -> int:
    emptied = 0
    try:
        async with connected(replace(broker, protocol=OLDEST)) as client:
            await client.subscribe(discovery_topic(broker))
            await client.subscribe(f"{broker.topic}/#")
            while True:
                async with asyncio.timeout(QUIET_S):
                    message = await anext(aiter(client.messages))
                if message.retain:
                    await client.publish(message.topic.value, b"", qos=1, retain=True)
                    emptied += 1
    except TimeoutError:
        return emptied
    except aiomqtt.MqttError as error:
        raise DeviceError(f"{broker.url} cannot be reached ({error}); start the broker, or give another --mqtt") from error
