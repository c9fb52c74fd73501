"""The checks of `fluxforge doctor`: the bus, the storage and the machine of an installation, each with a remedy."""
