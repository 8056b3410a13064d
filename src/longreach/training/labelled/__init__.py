"""Labelled sequences: which label each has."""
