"""The audit: the books of captured, sealed and processed records, closed across stages as ranges of seqs.

`take` reads everything into a `Books`; `close` decides, purely; `report` and `to_json` say it.
"""
