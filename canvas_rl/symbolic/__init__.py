"""Symbolic sizes and the constraints on them; imports no torch."""
