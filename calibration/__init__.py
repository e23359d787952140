"""How long things take and how much they hold."""
