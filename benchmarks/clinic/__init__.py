"""The clinic: trainings with a known fault, each beside a healthy twin, and who finds out what is wrong.

    python -m benchmarks.clinic [--jobs 2] [--only FAULT ...] [--fold open|held-out] [--results FOLDER]

cases.py        the pairs: a script, what both twins share, what makes one ill, and which names count as a hit
scripts/        ordinary training scripts; they know nothing of longreach, and end in a line "outcome solved 0.983"
outpatient.py   one case: the script under the spy, and again under the watch of `longreach run`
spy.py          what the published rules read: gradients, weights, updates, activations, accuracies
published.py    SageMaker Debugger's, AutoTrainer's and DeepDiagnosis' rules, from their published definitions
tables.py       recall and false alarms with intervals, and who said what

A label comes from how a case is built and is checked by its outcome on held-out data: an ill twin has to fail its task,
and a healthy one to solve it, or the pair does not count. What was run is kept, one line of JSON a case, and is not run
again while the command stays the same.
"""
