"""Training on the user's own data: the loop, what it is asked to learn, and how it comes through trouble.

plan.Settings      what may be asked of `longreach.train`; outcome.Outcome: what it gives
problem.Problem    what a kind of data has to be; kinds.py: which there are
run.load           a run's folder -> kind, recipe, trained network
"""
