"""Coverage: for how much of its time each feed was captured whole, and what can be said of that."""
