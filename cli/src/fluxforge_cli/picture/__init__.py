"""Pictures: what is drawn, and the painters that put it into a file."""
