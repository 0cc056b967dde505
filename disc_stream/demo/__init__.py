"""What ``disc-stream demo`` is made of: a broker, a fleet, a model learned on the spot, and the service."""
