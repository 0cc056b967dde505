"""How much a server takes: many devices, as fast as it goes, beside a subscriber that only counts."""
