"""Measurements over time: how they go on."""
