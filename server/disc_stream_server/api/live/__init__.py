"""Labels as they come, for any number of viewers, by server-sent events and by WebSocket."""
