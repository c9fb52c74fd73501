"""The runtime: settings, logs, metrics, health and the life of a service process."""
