"""What ``disc-stream watch`` is made of: a listener on the broker, a book of last labels, three views."""
