"""A broker on loopback for the demo and the load tools: Mosquitto, or a small one inside this process."""

from disc_stream.localbroker.ports import HOST
from disc_stream.localbroker.start import LocalBroker, find_mosquitto, start_broker

__all__ = ["HOST", "LocalBroker", "find_mosquitto", "start_broker"]
