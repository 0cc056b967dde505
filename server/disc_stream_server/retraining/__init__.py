"""Retraining beside the server: when it is due, the process that does it, and the log of every decision.

::

    labels, registry ──▶ evidence ──▶ schedule ──▶ supervisor ──▶ process: disc-stream retrain
                          drift ─┘                      │
                                                        ▼
                                            decisions.jsonl, status
"""
