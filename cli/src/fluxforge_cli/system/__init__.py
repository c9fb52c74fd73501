"""The whole system on one machine: its processes, from the first start to the last drained segment."""
