"""Measurements of speed, side by side with other codes."""
