"""What an input adds to the inputs that came after it."""

import numpy as np
from jaxtyping import Float, Float32, Int

# Steps after an input, as (first, last): a window enters a prediction as one mean per feature. Single steps first, for
# the sake of autoregressions; then about half an octave each, for seasons, slow trends and levels.
WINDOWS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (7, 8), (9, 12), (13, 16), (17, 24), (25, 32), (33, 64), (65, 128))
COLUMNS = 320  # of a regression, at most
ROWS = 40_000  # steps in a regression, at most
RIDGE = 1e-4  # of the mean square of a predictor
CHANCE = 5.0  # standard deviations by which autocorrelation must exceed chance to be worth removing


class Innovations:
    """ε_{t-k} = φ_{t-k} - its best linear prediction from windows of φ_{t-k+1}, …, φ_t.

    Why       where inputs are autocorrelated, an error that depends on x_t alone correlates with x_{t-k} too; it does
              not with ε_{t-k}, which is orthogonal to all that the windows see of the more recent inputs
    Fit       one ridge regression per number of windows, pooled over sequences and steps (so the inputs' correlations
              are taken to be stationary, their means are not), all from one matrix of moments; as many windows as give
              at most a column per 20 rows. Lag k is predicted from the windows that end within its k later steps:
              nothing after the error's own step may be used, the network has not seen it
    Skipped   where all windows together explain no more than chance: then ε = φ
    Scale     ε is turned and scaled (symmetrically: the nearest such basis) to covariance 1, so that the squared
              correlations with its features add up to a share of variance
    Is not    independence: what nonlinear functions of recent inputs tell about φ_{t-k} stays in
    """

    def __init__(self, phi: Float32[np.ndarray, "sequence time feature"], lengths: Int[np.ndarray, " sequence"]):
        self.phi = phi
        self.sums = running_sums(phi)
        self.varies = np.abs(phi).max(axis=0) > 0  # where all sequences agree there is no news
        width = phi.shape[2]
        fitting = sum(last <= phi.shape[1] // 2 for _, last in WINDOWS)
        self.windows = WINDOWS[: min(fitting, COLUMNS // width)]
        rows, sequence, time = self._rows(lengths)
        while self.windows and len(self.windows) * width > rows / 20:
            self.windows = self.windows[:-1]
            rows, sequence, time = self._rows(lengths)
        self.weights, basis = self._fit(sequence, time)
        self.reach = self.windows[len(self.weights) - 1][1] if self.weights else 0
        self.basis = basis.astype(np.float32)
        self.far = self._innovation(len(self.weights), 0, phi.shape[1] - self.reach)

    def before(self, anchor: int) -> Float32[np.ndarray, "sequence lag feature"]:
        """ε_{t-k} for the anchor t, over the lags 0, 1, …, t."""
        levels = contained(self.windows[: len(self.weights)], np.arange(min(self.reach, anchor + 1)))
        parts = [self.far[:, : max(anchor + 1 - self.reach, 0)]]
        for depth in range(levels.max(initial=-1), -1, -1):
            lags = np.flatnonzero(levels == depth)
            if len(lags):
                parts.append(self._innovation(depth, anchor - lags[-1], anchor + 1 - lags[0]))
        return np.concatenate(parts, axis=1)[:, ::-1]

    def _innovation(self, depth: int, start: int, stop: int) -> np.ndarray:
        """ε at the steps from start to stop, predicted from the first `depth` windows."""
        rest = self.phi[:, start:stop].copy()
        for index in range(depth):
            first, last = self.windows[index]
            rest -= self._window(slice(None), np.arange(start, stop), first, last) @ self.weights[depth - 1][index]
        return (rest * self.varies[start:stop]) @ self.basis

    def _window(self, sequence, time, first: int, last: int) -> np.ndarray:
        """Sum over φ from `first` to `last` steps later, over the root of their number."""
        return (self.sums[sequence, time + last + 1] - self.sums[sequence, time + first]) / np.sqrt(last - first + 1)

    def _rows(self, lengths: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
        """Evenly spread steps that have all windows after them."""
        steps = self.phi.shape[1]
        last = self.windows[-1][1] if self.windows else 0
        valid = (np.arange(steps) >= steps - lengths[:, None])[:, : steps - last]
        sequence, time = np.nonzero(valid)
        most = min(ROWS, int(3e9 / max(1, len(self.windows) * self.phi.shape[2]) ** 2))
        chosen = np.arange(0, len(time), max(1, -(-len(time) // most)))
        return len(chosen), sequence[chosen], time[chosen]

    def _fit(self, sequence: np.ndarray, time: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Weights (window, feature, feature) for 1, 2, … windows, and the basis in which ε has covariance 1."""
        target = self.phi[sequence, time]
        width, rows = target.shape[1], len(target)
        blocks = [target, *(self._window(sequence, time, *window) for window in self.windows)]
        stacked = np.concatenate(blocks, axis=1)
        moments = (stacked.T @ stacked).astype(np.float64)
        cross, inner = moments[width:, :width], moments[width:, width:]
        ridge = RIDGE * np.diag(np.maximum(np.diag(inner), 1e-12 * rows))
        left = moments[:width, :width]
        solved = [
            np.linalg.solve(inner[:count, :count] + ridge[:count, :count], cross[:count])
            for count in range(width, len(inner) + 1, width)
        ]
        predicted = cross.T @ solved[-1] if solved else np.zeros_like(left)
        share = np.mean(np.diag(predicted) / np.maximum(np.diag(left), 1e-12))
        chance = len(inner) / max(rows, 1)
        if share <= chance + CHANCE * np.sqrt(2 * chance / max(rows, 1)):
            return [], _whitening(left / max(rows, 1))
        weights = [weight.reshape(-1, width, width).astype(np.float32) for weight in solved]
        return weights, _whitening((left - predicted) / rows)


def contained(windows: tuple[tuple[int, int], ...], lags: Int[np.ndarray, " lag"]) -> Int[np.ndarray, " lag"]:
    """How many windows lie within the steps that are more recent than each lag."""
    return np.searchsorted([last for _, last in windows], lags, side="right")


def running_sums(phi: Float32[np.ndarray, "sequence time feature"]) -> Float32[np.ndarray, "sequence time+1 feature"]:
    """Sums over the steps before each step."""
    sums = np.zeros((phi.shape[0], phi.shape[1] + 1, phi.shape[2]), np.float32)
    np.cumsum(phi, axis=1, out=sums[:, 1:])
    return sums


def _whitening(covariance: Float[np.ndarray, "feature feature"]) -> Float[np.ndarray, "feature feature"]:
    """The symmetric root of the inverse; directions below a hundredth of the mean variance are not blown up."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    floor = max(1e-2 * values.mean(), 1e-12)
    return (vectors / np.sqrt(np.maximum(values, floor))) @ vectors.T
