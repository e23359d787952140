"""Readers and writers of trace files, one module a format."""
