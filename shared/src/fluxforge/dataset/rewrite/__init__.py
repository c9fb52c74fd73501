"""Rewriting: files of a partition become others, checked row by row, in one step for every reader."""
