"""What can be measured of a run besides reach and need: one quantity a file, without torch.

Each file holds what a sampled step leaves (a `Sample`), what the record says of the whole run, and how the one becomes
the other.
"""
