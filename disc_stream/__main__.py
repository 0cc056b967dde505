"""``python -m disc_stream`` is the ``disc-stream`` command."""

from disc_stream.cli.app import main

main()
