"""What survives a crash: the spool of raw messages, and the labeller's state.

::

    <state>/lock                        one server per folder
    <state>/spool/<position>.sqlite     raw messages in the order of receipt; written by the receiver
    <state>/spool/writer.lock           one receiver per spool
    <state>/spool/maintenance.lock      one at a time removes rows, or mends a file
    <state>/state.sqlite                checkpoint, sessions, labels, dead letters; written by the labeller
    *.damaged                           a file that was damaged, as it was; what could be read is saved
"""
