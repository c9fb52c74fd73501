"""Silence: how long a feed may say nothing before something is wrong, learned from the feed itself. Pure."""
