"""`longreach bench`: cells and remedies × tasks × lengths × seeds, beside what was published."""
