"""The segmenter: seals the lanes of the bus as immutable NDJSON segments."""
