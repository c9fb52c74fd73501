"""Markets: seeded books and trades, with no I/O and no clock."""
