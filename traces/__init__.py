"""What arrives: traces, their formats, their prefix trees."""
