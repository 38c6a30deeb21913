"""The encoder: backbones, network, losses, and the files that it is exported to."""
