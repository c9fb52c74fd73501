"""The compactor: merges small parts, repartitions, applies retention."""
