"""The edge: sources of samples and the publisher that sends them."""
