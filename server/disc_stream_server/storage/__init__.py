"""What survives a crash: the spool of raw messages, and the labeller's state.

::

    <state>/lock                   one server per folder
    <state>/spool/<position>.sqlite    raw messages in the order of receipt; written by the receiver
    <state>/state.sqlite           checkpoint, sessions, labels, dead letters; written by the labeller
"""
