"""A complete set-up of Mosquitto in which a stranger gets nowhere (docs/guides/security.md).

::

    setup ──▶ mosquitto (configuration, access lists)
      │   └─▶ roles (server, viewer, operator)
      ├─────▶ authority (certificates) ──▶ files
    devices ─▶ passwords (Mosquitto's own format)
"""
