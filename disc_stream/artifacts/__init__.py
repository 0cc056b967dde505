"""Model bundles on disk and the encoder that runs them."""
