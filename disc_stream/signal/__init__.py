"""Signal processing without I/O: units and windows."""
