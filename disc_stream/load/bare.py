"""The reference: a plain paho subscriber with QoS 1 and manual acknowledgement that only counts.

``python -P -m disc_stream.load.bare`` takes its order as a line of JSON on stdin, prints its count ten times
a second, and ends with its processor time when it has them all.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from disc_stream.wire.broker import Broker


def main() -> None:
    """Count until all are here."""
    order = json.loads(sys.stdin.readline())
    broker = Broker.parse(order["broker"])
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=order["client_id"], protocol=paho.MQTTv5, manual_ack=True
    )
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    count = 0
    all_here, subscribed = threading.Event(), threading.Event()

    def on_message(_client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        nonlocal count
        client.ack(message.mid, message.qos)
        count += 1
        if count == order["messages"]:
            all_here.set()

    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.ReceiveMaximum = order["receive_maximum"]
    client.connect(broker.host, broker.port, clean_start=True, properties=properties)
    client.subscribe(order["filter"], 1)
    client.loop_start()
    subscribed.wait(10)
    print(json.dumps({"ready": True}), flush=True)
    before = time.process_time()
    while not all_here.wait(0.02):
        print(json.dumps({"count": count, "at": time.monotonic()}), flush=True)
    cpu_s = time.process_time() - before
    print(json.dumps({"count": count, "at": time.monotonic(), "cpu_s": cpu_s}), flush=True)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
