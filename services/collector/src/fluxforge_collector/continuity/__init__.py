"""Continuity: what the venues' own counters and checksums say of the frames that came, and of those that did not."""
