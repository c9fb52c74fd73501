"""Benchmarks: one module per claim, each beside the bare operation in the same run."""
