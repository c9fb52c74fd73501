"""The adapters in memory: the ports' contracts without a disk, a server or time; for tests and simulation."""
