"""LR303 collapsed-weights."""

from longreach.diagnosis.finding import Finding, Severity
from longreach.diagnosis.learning import broken, course, struggles, stuck
from longreach.diagnosis.wording import percent
from longreach.quantities.weights import Weight
from longreach.record import Record

CERTAIN, LIKELY = ("zero", "cloned", "alike from the start"), ("shrunk", "of one rank")
SAME = 1 - 1e-6  # of the energy: units that differ by less than a thousandth of their weights
SHRUNK = 0.1  # of the size at the start: a tenth in each of three layers leaves a thousandth of the signal
FULL_RANK, ONE_RANK = 4.0, 1.5  # directions that carry the energy
WIDE = 8  # rows and columns: a narrower matrix, as LoRA has them, may do with one direction
KINDS = CERTAIN + LIKELY
REMEDIES = ("scaled-init", "orthogonal-init")


def collapsed_weights(record: Record) -> tuple[Finding, ...]:
    """Weight matrices that have lost what they began with, or that never began.

    Looks at        of every matrix that a gradient comes to, over the second half of the run: the root mean square of
                    its entries, the number of directions that carry its energy, (Σσ²)² / Σσ⁴, and the share of it that
                    all rows or all columns have in common
    Why it matters  a layer of zeros passes nothing; units with the same weights get the same gradients and stay the
                    same for ever; weights that decay faster than they learn forget everything
    Threshold       zero: nothing but 0. Cloned: rows or columns that differ by less than a thousandth of their size.
                    Alike from the start: begun as zeros or clones, and still with 1.5 directions or fewer. Shrunk:
                    below a tenth of the size at the start. Of one rank: 1.5 directions or fewer where it began with
                    four or more. All of it only in a run that has learned next to nothing; the first three, which
                    cannot be meant, also where most is left to learn
    Severity        critical for the first three in a run that has learned next to nothing; otherwise a warning
    Stays silent    where the run learns; on embeddings and biases; on what gets no gradient. Branches that begin at
                    zero (residual nets, LoRA) leave it with the first step. Where the loss is no number any more
                    (LR401)
    Blind to        matrices of more than 64 rows or 256 columns beyond evenly spaced ones of them
    Remedies        a start that tells units apart; less weight decay
    Papers          Goodfellow, Bengio & Courville 2016, section 8.4 (symmetry); Saxe, McClelland & Ganguli 2014
    """
    lost, most_left = stuck(record), struggles(record)
    kinds = [(weight, kind) for weight in record.weights if (kind := _kind(weight))]
    found = [(weight, kind) for weight, kind in kinds if lost or (most_left and kind in CERTAIN)]
    if not found or broken(record):
        return ()
    first, kind = min(found, key=lambda pair: KINDS.index(pair[1]))
    alike = sum(other == kind for _, other in found)
    return (_finding(first, kind, alike, "critical" if lost and kind in CERTAIN else "warning", record),)


def _kind(weight: Weight) -> str | None:
    if weight.size == 0:
        return "zero"
    if weight.clones >= SAME and min(weight.shape) > 1:
        return "cloned"
    if weight.rank_start * SAME <= 1 and weight.rank <= ONE_RANK and min(weight.shape) > WIDE:
        return "alike from the start"
    if weight.size < SHRUNK * weight.size_start:
        return "shrunk"
    return "of one rank" if weight.rank <= ONE_RANK and weight.rank_start >= FULL_RANK else None


def _told(weight: Weight, kind: str) -> str:
    if kind == "zero":
        return "All weights of this matrix are 0" + (", as they were at the start." if weight.size_start == 0 else ".")
    if kind == "cloned":
        return (
            "All rows or all columns of this matrix are the same: its units get the same gradients and stay so, and "
            "the layer is worth one unit. Start from random weights."
        )
    if kind == "alike from the start":
        return (
            f"The units of this matrix began alike, and {weight.rank:.2g} direction still carries all their weights: "
            "what starts the same gets the same gradients. Start from random weights."
        )
    if kind == "shrunk":
        return (
            f"The weights of this matrix have shrunk to {percent(weight.size / weight.size_start)} of their first size "
            f"(by step {weight.since}). Look at the weight decay: it takes more than the gradient gives."
        )
    return (
        f"This matrix began with {weight.rank_start:.2g} directions that carried its energy, and now {weight.rank:.2g} "
        "does: whatever its input, it gives multiples of one answer."
    )


def _finding(weight: Weight, kind: str, alike: int, severity: Severity, record: Record) -> Finding:
    others = "" if alike == 1 else f" The same holds for {alike - 1} more."
    evidence = {
        "kind": kind,
        "size": weight.size,
        "size_start": weight.size_start,
        "rank": weight.rank,
        "rank_start": weight.rank_start,
        "clones": weight.clones,
        "since": weight.since,
        "matrices": alike,
    }
    summary = f"{_told(weight, kind)}{others} {course(record)}"
    return Finding("LR303", "collapsed-weights", severity, weight.parameter, summary, evidence, REMEDIES)
