"""longreach in the tools that people train with: one library a file, none of them loaded before it is asked for.

    lightning     LongreachCallback, TruncatedBPTT, Windows     Lightning 2.x
    transformers  LongreachCallback                             the Trainer of Hugging Face
    tensorboard   write                                         scalars and pictures of a run
    wandb         log                                           Weights & Biases, offline too
    mlflow        log                                           whatever store MLflow uses

Loops over `accelerate` need nothing: `longreach run` and `longreach.watch` see them as they are.
"""
