"""What `kvsim trace describe` shows: tables, and a page of figures."""
