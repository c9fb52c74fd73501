"""The collector: connects, stamps and publishes; one process per exchange shard."""
