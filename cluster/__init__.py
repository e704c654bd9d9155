"""Where does it run? The one-machine stack (`python -m cluster.local`); fleets, and what checks their files (`cluster.check`)."""
