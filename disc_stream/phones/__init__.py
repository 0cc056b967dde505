"""``disc-stream phone``: takes what apps on phones send, and publishes it as devices do."""
