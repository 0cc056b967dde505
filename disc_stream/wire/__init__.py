"""What crosses the network: topics, payloads, labels, and the connection that carries them."""
