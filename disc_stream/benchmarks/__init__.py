"""Measurements that others can repeat: Table I, training speed."""
