"""The account: captured = sealed = processed, counted in three places that do not know each other.

Captured: what collectors said last. Sealed: the manifests. Processed: the Parquet files, counted by DuckDB, and the
commit records for what became no row.
"""
