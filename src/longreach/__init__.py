"""longreach: how far back a network's gradient reaches, and how far back its data needs it to."""
