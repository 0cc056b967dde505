"""Recordings as loggers and people write them, brought to one form.

::

    files      what there is: files, gz, zip, folders; what is passed over
    dialect    encoding, separators, decimal commas, preambles, header and units lines
    formats    declarative descriptions of what known loggers write
    columns    which column is what, with which unit
    table      the numbers, block by block
    times      a column of times as microseconds
    stamps     order of rows, times that stand for several samples
    repair     rate, lost samples, gaps: by the times of the samples; even holds what comes of it
    faults     zeros of a sensor that is off, spikes, dead channels
    joining    sensors of one device, joined by time as the stream joins them
    people     whose recording it is
    build      all of it in a row, and the plan that is shown before anything is written
"""
