"""What people see: terminal tables and HTML."""
