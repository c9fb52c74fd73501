"""Databento: its binary records (DBN) become records of the same shapes as ccxt's, so that the ETL need not care.

`translate` (with `book`, `markets` and `unify`, all pure) turns DBN records into updates, of files and live alike.
Files: `dbn_file` reads them, `lines` sets updates into a lane's order, `ingest` stages and enters the segments.
Live: `subscriptions` says what to ask for, `session` is one connection, `intake` enters what comes of it, `seen` knows
what was there before (pure), `source` holds one session after another.
"""
