"""From the broker into the spool: a process of its own that does nothing else.

It commits what has arrived in groups and acknowledges it in the order of receipt, and never before it is
durable. Decoding, windows and labels are the main process's work, which reads the spool: neither waits for
the other, and neither takes the other down.
"""
