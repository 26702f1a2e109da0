"""Predictions scored under named protocols."""
