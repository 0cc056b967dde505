"""The command line; every command loads what it needs when it runs."""
