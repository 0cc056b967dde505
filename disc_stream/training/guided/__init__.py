"""DISC, guided: its network, with the targets of a labelling that carries over to other people."""
