"""Runs side by side: their scores, settings, losses, costs and answers, as a table and as one HTML page."""
