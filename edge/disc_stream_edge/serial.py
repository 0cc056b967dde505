"""Lines from a serial port, in the form of ``lines.py``."""

from __future__ import annotations

import os
import termios
import tty
from pathlib import Path

from disc_stream.errors import ConfigError, DataError, InputNotFoundError

_SPEEDS = {
    int(name[1:]): getattr(termios, name)
    for name in dir(termios)
    if name.startswith("B") and name[1:].isdecimal()
}


def open_serial(path: Path, baud: int) -> int:
    """Open a serial port to read from it: raw, 8 bits, no parity, no flow control.

    Args:
        path: such as ``/dev/ttyACM0``.
        baud: one of the system's speeds.

    Returns:
        A file descriptor.

    Raises:
        ConfigError: if the speed is none.
        InputNotFoundError: if there is no such port.
        DataError: if it is none, or may not be opened.
    """
    speed = _SPEEDS.get(baud)
    if not speed:
        known = ", ".join(str(one) for one in sorted(_SPEEDS) if one >= 9_600)
        raise ConfigError(f"{baud} is no speed of a serial port", remedy=f"Use one of: {known}")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise InputNotFoundError(
            f"there is no serial port {str(path)!r}", remedy="Look for /dev/ttyACM* and /dev/ttyUSB*"
        ) from error
    except OSError as error:
        raise DataError(
            f"the serial port {str(path)!r} cannot be opened: {error.strerror}",
            remedy="You may have to be in the group dialout",
        ) from error
    try:
        tty.setraw(descriptor, termios.TCSANOW)
        settings = termios.tcgetattr(descriptor)
        settings[2] = settings[2] & ~termios.CRTSCTS | termios.CLOCAL | termios.CREAD
        settings[4] = settings[5] = speed
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
        os.set_blocking(descriptor, True)
    except (termios.error, OSError) as error:
        os.close(descriptor)
        raise DataError(f"{str(path)!r} is no serial port: {error}") from error
    return descriptor
