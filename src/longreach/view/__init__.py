"""The live page: a small server on this machine that shows runs while they go on. It reads, and writes nothing."""
