"""Events, episodes and labels in the forms of other standards: pure functions, no library needed.

The libraries of those standards check what comes out, in the tests.
"""
