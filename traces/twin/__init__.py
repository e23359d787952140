"""A twin of a trace: fitted, kept in a file, drawn from."""
