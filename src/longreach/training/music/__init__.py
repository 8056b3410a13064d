"""Piano rolls: which keys come next."""
