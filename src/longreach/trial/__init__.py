"""The proof that a remedy helped: paired runs, what they cost, and what may be concluded from them."""
