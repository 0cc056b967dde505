"""``disc-stream doctor``: looks at a broker from outside, and at the machine that serves.

::

    examine ──▶ connection, limits, sessions, access, clock ──▶ probe (one MQTT connection, looked at closely)
        └─────▶ machine (disk, runtime, versions)
"""
