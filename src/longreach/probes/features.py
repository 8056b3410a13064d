"""What of an input the need test correlates with the error: φ(x_t)."""

import itertools

import numpy as np
from jaxtyping import Float, Float32, Int, Num

MOST = 32  # features, at most
MULTIPLIED = 8  # inputs with up to this many features also enter in pairwise products
ROWS = 20_000  # steps from which correlations between features are estimated


def features(
    inputs: Num[np.ndarray, "sequence time raw"], lengths: Int[np.ndarray, " sequence"], *, tokens: bool
) -> tuple[Float32[np.ndarray, "sequence time feature"], int]:
    """φ(x_t), and how many of its first columns are no products.

    φ has mean 0 over the sequences at every step counted from the end, and is 0 before a sequence's first step.

    Real inputs   scaled to mean 0 and variance 1; where there are at most 8, their pairwise products and squares too
                  (of the centred inputs, so that value x marker means the value's deviation where the marker is);
                  columns that the ones before them determine are dropped (a marker's square, the last of a one-hot
                  code); more than 32 are projected on their leading principal directions
    Tokens        one-hot of the 32 most frequent; all others together are the class that has no column of its own
    Constant      inputs give no column: the feature axis may have length 0
    Is not        a representation that could show a dependency of second order between two different steps
    """
    steps = inputs.shape[1]
    valid = np.arange(steps) >= steps - lengths[:, None]
    if tokens:
        columns = _one_hot(inputs[:, :, 0], valid)
        return _centred(columns, valid), columns.shape[2]
    columns, linear = _real(inputs, valid)
    return _centred(columns, valid), linear


def _real(inputs: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, int]:
    """Scaled inputs and their products, independent of each other, at most 32."""
    scaled = _scaled(inputs, valid)
    if scaled.shape[2] > MOST:
        scaled = _principal(scaled, valid)
    count = scaled.shape[2]
    terms: list[tuple[int, ...]] = [(column,) for column in range(count)]
    if count <= MULTIPLIED:
        terms += itertools.combinations_with_replacement(range(count), 2)
    rows = _sample(scaled, valid)
    kept = _independent(np.stack([rows[:, term].prod(axis=1) for term in terms], axis=1)) if terms else []
    chosen = [scaled[:, :, terms[index]].prod(axis=2) for index in kept]
    columns = np.stack(chosen, axis=2) if chosen else scaled[:, :, :0]
    if columns.shape[2] > MOST:
        return _principal(columns, valid), MOST
    return columns, sum(len(terms[index]) == 1 for index in kept)


def _scaled(inputs: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The inputs that vary, with mean 0 and variance 1 over all valid steps."""
    columns = []
    for index in range(inputs.shape[2]):
        column = inputs[:, :, index].astype(np.float64)
        values = column[valid]
        mean, deviation = values.mean(), values.std()
        if deviation > 1e-6 * np.abs(values).max():  # below it, what varies is the rounding of float32
            columns.append(((column - mean) / deviation * valid).astype(np.float32))
    return np.stack(columns, axis=2) if columns else np.zeros((*valid.shape, 0), np.float32)


def _one_hot(ids: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Frequent tokens as columns of variance 1; the rarest one kept, or all the rest, has none."""
    found, counts = np.unique(ids[valid], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    frequent = order[: min(MOST, len(order) - 1)]
    share = counts[frequent] / counts.sum()
    hit = ids[:, :, None] == found[frequent]
    return ((hit - share) / np.sqrt(share * (1 - share))).astype(np.float32) * valid[:, :, None]


def _sample(columns: np.ndarray, valid: np.ndarray) -> Float[np.ndarray, "row feature"]:
    """Some of the valid steps, in double precision; by chance, for every second step of a sequence may be all alike."""
    sequence, time = np.nonzero(valid)
    chosen = np.sort(np.random.default_rng(0).permutation(len(time))[:ROWS])
    return columns[sequence[chosen], time[chosen]].astype(np.float64)


def _principal(columns: np.ndarray, valid: np.ndarray) -> np.ndarray:
    rows = _sample(columns, valid)
    _, directions = np.linalg.eigh(rows.T @ rows)
    return columns @ directions[:, : -MOST - 1 : -1].astype(np.float32)


def _independent(rows: Float[np.ndarray, "row feature"]) -> list[int]:
    """Columns of which at least a thousandth of the variance is news after the columns before them."""
    rows = rows - rows.mean(axis=0)
    deviation = rows.std(axis=0)
    basis = np.zeros((len(rows), 0))
    kept = []
    for index in np.flatnonzero(deviation > 1e-6):
        column = rows[:, index] / deviation[index] / np.sqrt(len(rows))
        for _ in range(2):  # twice is enough (Kahan): the first pass leaves rounding behind
            column = column - basis @ (basis.T @ column)
        size = np.linalg.norm(column)
        if size**2 > 1e-3:
            basis = np.concatenate([basis, column[:, None] / size], axis=1)
            kept.append(int(index))
    return kept


def _centred(columns: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Mean 0 at every step, over the sequences that have it; exactly 0 where nothing but rounding is left."""
    counts = np.maximum(valid.sum(axis=0), 1)[:, None]
    mean = columns.sum(axis=0, dtype=np.float64) / counts
    centred = columns - mean.astype(np.float32)
    if not valid.all():
        centred *= valid[:, :, None]
    variance = np.einsum("ntf,ntf->tf", centred, centred) / counts
    centred *= variance > 1e-8
    return centred
