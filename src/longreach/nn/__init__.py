"""What recurrent networks are built with."""
