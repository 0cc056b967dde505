"""What ``disc-stream watch`` is made of: a listener on the broker, a state of last labels, three views."""
