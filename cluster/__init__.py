"""Where does it run? The one-machine stack (`python -m cluster.local`)."""
