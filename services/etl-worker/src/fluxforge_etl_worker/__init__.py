"""The ETL worker: sealed segments to partitioned Parquet."""
