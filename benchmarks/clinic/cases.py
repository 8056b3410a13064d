"""The pairs. Everything here was fixed before any detector was asked.

A pair is one script with one seed, ill and well by an ordinary argument or two. Half of the pairs of each fault are held
out: nobody looks at them while rules are calibrated. They differ from the open ones in seed and size, often in network.
"""

import shlex
import sys
from dataclasses import dataclass

# Names of findings that count as a hit, beside the fault's own. A step that is far too large is seen by what it does to
# the loss; so is one that grows during training, and there the size of the step is the cause, the loss the symptom.
ALSO = {
    "step-size-too-small": ("step-size",),
    "step-size-too-large": ("step-size", "unstable-loss"),
    "step-size-grows": ("unstable-loss", "step-size"),
    # gradients reach what they should, and a step too small or parameters that no optimizer holds waste them
    "reached-but-unlearned": ("reached-but-unlearned", "step-size"),
}


@dataclass(frozen=True)
class Pair:
    """Twins.

    fault   what the ill one has
    script  in scripts/
    both    arguments of both; the seed is among them
    ill     arguments that bring the fault
    well    arguments of the healthy twin in their place
    fold    "open" or "held-out"
    number  within the fault, counted from 1
    """

    fault: str
    script: str
    both: str
    ill: str
    well: str
    fold: str
    number: int = 0

    @property
    def name(self) -> str:
        return f"{self.fault}-{self.number}"

    @property
    def hits(self) -> tuple[str, ...]:
        """Names of findings that count."""
        return ALSO.get(self.fault, (self.fault,))

    def command(self, ill: bool) -> list[str]:
        return [f"{self.script}.py", *shlex.split(self.both), *shlex.split(self.ill if ill else self.well)]


def pairs() -> list[Pair]:
    """All pairs, numbered within their faults."""
    found: list[Pair] = []
    for block in TABLE.strip().split("\n\n"):
        fault, *lines = block.splitlines()
        for number, line in enumerate(lines, start=1):
            fold, script, both, ill, well = (part.strip() for part in line.split("|"))
            found.append(Pair(fault, script, both, ill, well, fold, number))
    return found


def chosen(only: list[str], fold: str | None) -> list[Pair]:
    """The pairs of these faults (all if none is named) and this fold, or both."""
    return [pair for pair in pairs() if (not only or pair.fault in only) and fold in (None, pair.fold)]


TABLE = """
vanishing-in-time
open     | cue | --net rnn --seed 1                                   | --lag 50                    | --lag 5
open     | cue | --net gru --seed 2                                   | --lag 50                    | --lag 50 --start chrono
open     | cue | --net lstm --seed 3                                  | --lag 50                    | --lag 50 --start chrono
open     | cue | --net cell --seed 4 --hidden 32                      | --lag 45 --length 50        | --lag 3 --length 50
held-out | cue | --net rnn --seed 11 --hidden 64 --length 80          | --lag 70                    | --lag 8
held-out | cue | --net lstm --seed 12 --kinds 6 --length 70           | --lag 60                    | --lag 60 --start chrono
held-out | cue | --net own --seed 13 --length 50                      | --lag 40                    | --lag 4
held-out | cue | --net gru --seed 14 --layers 2 --length 70 --steps 300 | --lag 65                  | --lag 6

exploding-in-time
open     | cue | --net rnn --seed 1 --lag 6                           | --gain 6                    | --gain 1
open     | cue | --net own --seed 2 --lag 6 --hidden 32               | --gain 6                    | --gain 1
open     | cue | --net cell --seed 3 --lag 8                          | --gain 6                    | --gain 1
held-out | cue | --net rnn --seed 11 --lag 8 --hidden 64 --length 80  | --gain 5                    | --gain 1
held-out | cue | --net own --seed 12 --lag 5 --length 40              | --gain 8                    | --gain 1
held-out | cue | --net rnn --seed 13 --lag 10 --length 70             | --start orthogonal --gain 4 | --start orthogonal

truncated-too-short
open     | stream | --net gru --seed 1                                | --window 5 --windows 3000   | --window 40
open     | stream | --net lstm --seed 2 --chrono 20                   | --window 5 --windows 3000   | --window 40
open     | stream | --net gru --seed 3 --letters 6 --hidden 32        | --window 4 --windows 3500   | --window 50
held-out | stream | --net lstm --seed 11 --chrono 15 --hidden 64      | --window 6 --windows 2500   | --window 45
held-out | stream | --net gru --seed 12 --delay 20                    | --window 6 --windows 2500   | --window 50
held-out | stream | --net lstm --seed 13 --letters 3 --chrono 20      | --window 4 --windows 3000   | --window 40

vanishing-in-depth
open     | rings | --optimizer sgd --lr 0.05 --depth 8 --activation sigmoid --seed 1 | | --residual --norm
open     | rings | --optimizer adam --depth 12 --activation tanh --seed 2 | --init normal --std 0.05 | --init xavier
open     | shapes | --depth 8 --activation sigmoid --seed 3           | --residual                  | --residual --norm
open     | ringworld | --nodes 8 --seed 4                             | --update sigmoid            | --update residual
held-out | rings | --optimizer adam --depth 10 --activation sigmoid --width 48 --seed 11 | | --residual --norm
held-out | rings | --optimizer sgd --lr 0.05 --depth 10 --seed 12     | --init normal --std 0.05    | --residual --norm
held-out | waves | --plain --seed 13                                  | --gain 0.1                  | --gain 1
held-out | rings | --optimizer adam --depth 16 --activation tanh --width 24 --seed 14 | --init normal --std 0.06 | --init xavier

exploding-in-depth
open     | rings | --optimizer sgd --lr 0.02 --depth 8 --seed 1       | --init normal --std 0.8     | --norm
open     | ringworld | --nodes 8 --update relu --seed 2 --lr 0.003    | --aggregate sum --gain 12   | --aggregate mean
open     | waves | --seed 3 --optimizer sgd --lr 0.05                 | --gain 8                    | --gain 1
held-out | rings | --optimizer sgd --lr 0.02 --depth 12 --width 48 --seed 11 | --init normal --std 0.6 | --norm
held-out | rings | --optimizer adam --depth 10 --activation tanh --seed 12 | --init normal --std 1.2 | --init xavier
held-out | waves | --plain --seed 13 --blocks 6                       | --gain 15                   | --gain 1

dead-units
open     | rings | --seed 1                                           | --bias -12                  | --bias 0
open     | shapes | --seed 2                                          | --bias -3                   | --bias 0
open     | rings | --optimizer sgd --seed 3 --depth 4                 | --lr 3                      | --lr 0.05
held-out | rings | --seed 11 --width 64 --depth 2                     | --bias -15                  | --bias 0.1
held-out | shapes | --seed 12 --depth 3 --channels 16                 | --bias -4                   | --bias 0.1
held-out | shapes | --seed 13 --optimizer sgd                         | --lr 2                      | --lr 0.02

saturated-units
open     | rings | --activation tanh --seed 1 --depth 4               | --init normal --std 12      | --init xavier
open     | rings | --activation sigmoid --seed 2 --depth 3            | --init normal --std 40      | --init default
open     | cue | --net rnn --seed 3 --lag 6                           | --input-gain 40             | --input-gain 1
held-out | rings | --activation tanh --seed 11 --width 48 --depth 5   | --init normal --std 8       | --init xavier
held-out | rings | --activation tanh --seed 12 --optimizer sgd --lr 0.05 | --init normal --std 15   | --init xavier
held-out | cue | --net own --seed 13 --lag 4 --hidden 32              | --input-gain 30             | --input-gain 1

collapsed-weights
open     | shapes | --seed 1                                          | --weight-decay 30           | --weight-decay 0.01
open     | rings | --seed 2                                           | --init constant --std 0     | --init default
open     | cue | --net rnn --seed 3 --lag 5                           | --start zero                | --start default
held-out | lookup | --seed 11 --length 16 --steps 400                 | --weight-decay 300          | --weight-decay 0.01
held-out | rings | --seed 12 --optimizer sgd --lr 0.05                | --weight-decay 0.5          | --weight-decay 0.0001
held-out | cue | --net gru --seed 13 --lag 4 --length 30              | --weight-decay 100          | --weight-decay 0.01

non-finite
open     | table | --constant-column --seed 1                         | --standardise naive         | --standardise yes
open     | pairs | --loss distance --net mlp --seed 2                 | --eps 0                     | --eps 1e-8
open     | lookup | --padding all --seed 3 --length 16 --steps 400    |                             | --guard
open     | pairs | --loss entropy --net gru --seed 4                  | --eps 0                     | --eps 1e-8
held-out | table | --seed 11 --hidden 32                              | --log-target log            | --log-target log1p
held-out | pairs | --loss distance --net gru --seed 12                | --eps 0                     | --eps 1e-8
held-out | pairs | --loss similarity --net mlp --seed 13              | --eps 0                     | --eps 1e-8
held-out | pairs | --loss entropy --net mlp --seed 14 --width 48      | --eps 0                     | --eps 1e-8

wrong-gradient
open     | custom | --net mlp --seed 1                                | --derivative sign           | --derivative right
open     | custom | --net cell --seed 2                               | --derivative rolled         | --derivative right
open     | custom | --net cell --seed 3 --width 40                    | --derivative transposed     | --derivative right
held-out | custom | --net mlp --seed 11 --width 48 --depth 4          | --derivative rolled         | --derivative right
held-out | custom | --net attention --seed 12                         | --derivative sign           | --derivative right
held-out | custom | --net cell --seed 13                              | --derivative sign           | --derivative right

precision-loss
open     | depthmap | --net conv --seed 1 --steps 100                 |                             | --precision bfloat16
open     | depthmap | --net pixel --seed 2 --steps 100                |                             | --scaler
open     | table | --optimizer sgd --lr 3e-3 --standardise yes --seed 3 --epochs 40 | --dtype bfloat16 | --dtype float32
held-out | depthmap | --net rows --seed 11 --steps 100                |                             | --scaler
held-out | depthmap | --net conv --seed 12 --width 24 --size 16 --steps 150 |                       | --precision bfloat16
held-out | table | --lr 1e-5 --standardise yes --seed 13 --epochs 60 --hidden 256 | --dtype bfloat16 | --dtype float32

unstable-loss
open     | table | --seed 1                                           | --outliers 0.003            | --outliers 0
open     | forecast | --net lstm --seed 2                             | --broken 0.01               | --broken 0
open     | waves | --seed 3                                           | --spikes 0.005              | --spikes 0
held-out | table | --seed 11 --hidden 32 --lr 0.01                    | --outliers 0.005            | --outliers 0
held-out | forecast | --net gru --seed 12                             | --broken 0.02               | --broken 0
held-out | waves | --seed 13 --length 48 --activation tanh            | --spikes 0.01               | --spikes 0

step-size-grows
open     | rings | --seed 1                                           | --jump 1000                 | --jump 1
open     | forecast | --net rnn --seed 2                              | --warm 1000                 | --warm 1
open     | lookup | --seed 3 --length 16 --steps 400                  | --jump 300                  | --jump 1
held-out | rings | --seed 11 --optimizer sgd --lr 0.05 --width 48     | --jump 100                  | --jump 1
held-out | forecast | --net gru --seed 12                             | --warm 1000                 | --warm 0.1
held-out | lookup | --seed 13 --length 20 --steps 400 --layers 1      | --jump 500                  | --jump 1

step-size-too-small
open     | rings | --seed 1                                           | --lr 1e-6                   | --lr 3e-3
open     | table | --seed 2 --optimizer sgd --standardise yes         | --lr 1e-6                   | --lr 5e-2
open     | lookup | --seed 3 --length 16 --steps 400                  | --lr 1e-6                   | --lr 2e-3
held-out | shapes | --seed 11                                         | --lr 1e-6                   | --lr 3e-3
held-out | cue | --seed 12 --net gru --lag 5 --length 30              | --lr 2e-6                   | --lr 3e-3
held-out | ringworld | --seed 13 --nodes 8 --update relu              | --lr 1e-6                   | --lr 3e-3

step-size-too-large
open     | shapes | --seed 1                                          | --lr 1                      | --lr 3e-3
open     | lookup | --seed 2 --length 16 --steps 400                  | --lr 1                      | --lr 2e-3
open     | cue | --seed 3 --net lstm --lag 5 --length 30              | --lr 1                      | --lr 3e-3
held-out | rings | --seed 11 --activation tanh                        | --lr 1                      | --lr 3e-3
held-out | forecast | --seed 12 --net rnn                             | --lr 1                      | --lr 5e-3
held-out | waves | --seed 13                                          | --lr 1                      | --lr 3e-3

clipping-always-binds
open     | table | --seed 1 --optimizer sgd --lr 0.1 --standardise yes | --clip 1e-3                | --clip 5
open     | waves | --seed 2 --optimizer sgd --lr 0.1                  | --clip 1e-3                 | --clip 10
open     | shapes | --seed 3 --optimizer sgd --lr 0.02                | --clip 1e-4                 | --clip 10
held-out | forecast | --seed 11 --optimizer sgd --lr 0.2 --net lstm   | --clip 1e-3                 | --clip 5
held-out | rings | --seed 12 --optimizer sgd --lr 0.05                | --clip 1e-4                 | --clip 10
held-out | cue | --seed 13 --net lstm --optimizer sgd --lr 0.5 --lag 3 --length 20 | --clip 1e-4    | --clip 10

badly-scaled-input
open     | table | --seed 1 --offset 1e4                              |                             | --standardise yes
open     | table | --seed 2 --spread 5                                |                             | --standardise yes
open     | forecast | --seed 3 --net lstm --level 1e4                 |                             | --normalise
held-out | waves | --seed 11                                          | --dc 300                    | --dc 0
held-out | table | --seed 12 --hidden 32 --offset 2000 --spread 3     |                             | --standardise yes
held-out | forecast | --seed 13 --net gru --level 3000                |                             | --normalise

no-signal
open     | cue | --net lstm --seed 1 --lag 5                          | --labels shuffled           | --labels true
open     | rings | --seed 2                                           | --labels random             | --labels true
open     | forecast | --net gru --seed 3                              | --targets neighbour         | --targets own
open     | lookup | --seed 4 --length 16 --steps 400                  | --labels shuffled           | --labels true
held-out | cue | --net rnn --seed 11 --lag 4 --length 40              | --labels shuffled           | --labels true
held-out | waves | --seed 12                                          | --roll 1                    | --roll 0
held-out | stream | --net gru --seed 13                               | --target-shift 3            | --target-shift 0
held-out | shapes | --seed 14                                         | --labels shuffled           | --labels true

reached-but-unlearned
open     | cue | --net lstm --seed 1 --lag 4 --length 30              | --lr 1e-6                   | --lr 3e-3
open     | cue | --net rnn --seed 2 --lag 4 --length 30 --optimizer sgd | --lr 1e-5                 | --lr 0.05
open     | cue | --net gru --seed 3 --lag 5 --length 30 --kinds 8     | --hidden 1                  | --hidden 32
held-out | forecast | --net lstm --seed 11                            | --rebuild --optimizer sgd --lr 1e-3 | --lr 5e-3
held-out | cue | --net cell --seed 12 --lag 4 --length 30             | --lr 1e-6                   | --lr 3e-3
held-out | cue | --net rnn --seed 13 --lag 3 --length 30 --kinds 8    | --hidden 1                  | --hidden 32
"""


def main() -> None:
    """Print the commands of the open pairs of the faults named, or of all."""
    for pair in chosen(sys.argv[1:], "open"):
        for ill in (True, False):
            print(f"{pair.name:28} {'ill ' if ill else 'well'}  scripts/{' '.join(pair.command(ill))}")


if __name__ == "__main__":
    main()
