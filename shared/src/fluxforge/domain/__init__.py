"""The domain: values and rules, free of I/O, clocks and chance."""
