"""Texts: what character comes next, and more of the same."""
