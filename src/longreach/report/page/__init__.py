"""The report as a page: a story becomes sections and figures, and these become HTML, in a file or live."""
