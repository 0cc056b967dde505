"""From a trained run to a bundle that runs anywhere."""
