"""Features of order books: pure functions over columns, one family per module; `registry` orders them."""
