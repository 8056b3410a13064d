"""What an input adds to the inputs that came after it."""

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.linalg import solve_triangular

# Steps after an input, as (first, last): a window enters a prediction as one mean per feature. Single steps first, for
# the sake of autoregressions; then about half an octave each, for seasons, slow trends and levels.
WINDOWS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (7, 8), (9, 12), (13, 16), (17, 24), (25, 32), (33, 64), (65, 128))
COLUMNS = 240  # of a regression, at most
ROWS = 20_000  # steps in a regression, at most
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
    Fewer     windows are used where the rest of them explain no more than chance; none where inputs are white
    Scale     ε is turned and scaled (symmetrically: the nearest such basis) to covariance 1, so that the squared
              correlations with its features add up to a share of variance
    Is not    independence: what nonlinear functions of recent inputs tell about φ_{t-k} stays in
    """

    def __init__(self, phi: Float32[np.ndarray, "sequence time feature"], lengths: Int[np.ndarray, " sequence"]):
        self.phi = phi
        self.sums = running_sums(phi)
        self.varies: np.ndarray = np.any(phi, axis=0)  # where all sequences agree there is no news
        self.valid: np.ndarray = np.arange(phi.shape[1]) >= phi.shape[1] - lengths[:, None]
        width = phi.shape[2]
        fitting = sum(last <= phi.shape[1] // 2 for _, last in WINDOWS)
        self.windows = WINDOWS[: min(fitting, COLUMNS // width)]
        sequence, time = self._rows()
        while self.windows and len(self.windows) * width > len(time) / 20:
            self.windows = self.windows[:-1]
            sequence, time = self._rows()
        self.weights, basis = self._fit(sequence, time)
        self.windows = self.windows[: len(self.weights)]
        self.reach = self.windows[-1][1] if self.windows else 0
        self.basis = basis.astype(np.float32)
        self.far = self._innovation(len(self.windows), 0, phi.shape[1] - self.reach)

    def before(self, anchor: int, count: int) -> Float32[np.ndarray, "sequence lag feature"]:
        """ε_{t-k} for the anchor t, over the lags 0, 1, …, count - 1; count <= t + 1."""
        levels = contained(self.windows, np.arange(min(self.reach, count)))
        parts = []
        for depth in range(levels.max(initial=-1) + 1):
            lags = np.flatnonzero(levels == depth).tolist()
            if lags:
                parts.append(self._innovation(depth, anchor - lags[-1], anchor + 1 - lags[0])[:, ::-1])
        start, stop = max(anchor + 1 - count, 0), anchor + 1 - self.reach
        if stop > start:
            parts.append(self.far[:, start:stop][:, ::-1])
        return np.concatenate(parts, axis=1)

    def _innovation(self, depth: int, start: int, stop: int) -> np.ndarray:
        """ε at the steps from start to stop, predicted from the first `depth` windows."""
        rest = self.phi[:, start:stop] @ self.basis
        for offset, weight in self._offsets(depth).items():
            rest -= self.sums[:, start + offset : stop + offset] @ (weight @ self.basis)
        rest *= self.varies[start:stop]
        if not self.valid[:, start].all():
            rest *= self.valid[:, start:stop, None]
        return rest

    def _offsets(self, depth: int) -> dict[int, np.ndarray]:
        """The weights again, for running sums: a window is a difference of two, and neighbours share one."""
        offsets: dict[int, np.ndarray] = {}
        for index in range(depth):
            first, last = self.windows[index]
            weight = self.weights[depth - 1][index] / np.float32(np.sqrt(last - first + 1))
            offsets[first] = offsets.get(first, 0) - weight
            offsets[last + 1] = offsets.get(last + 1, 0) + weight
        return offsets

    def _window(self, sequence: np.ndarray, time: np.ndarray, first: int, last: int) -> np.ndarray:
        """Sum over φ from `first` to `last` steps later, over the root of their number."""
        return (self.sums[sequence, time + last + 1] - self.sums[sequence, time + first]) / np.sqrt(last - first + 1)

    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Evenly spread steps that vary and have all windows after them.

        Where inputs are blank for most of the time (copying), zeros would pass for evidence of white inputs.
        """
        last = self.windows[-1][1] if self.windows else 0
        valid = (self.valid & self.varies.any(axis=-1))[:, : self.phi.shape[1] - last]
        sequence, time = np.nonzero(valid)
        most = min(ROWS, int(3e9 / max(1, len(self.windows) * self.phi.shape[2]) ** 2))
        chosen = np.arange(0, len(time), max(1, -(-len(time) // most)))
        return sequence[chosen], time[chosen]

    def _fit(self, sequence: np.ndarray, time: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Weights (window, feature, feature) for 1, 2, … windows, and the basis in which ε has covariance 1."""
        target = self.phi[sequence, time]
        width, rows = target.shape[1], len(target)
        blocks = [target, *(self._window(sequence, time, *window) for window in self.windows)]
        stacked = np.concatenate(blocks, axis=1)
        moments = (stacked.T @ stacked).astype(np.float64)
        cross, inner = moments[width:, :width], moments[width:, width:]
        ridge = RIDGE * np.diag(np.maximum(np.diag(inner), 1e-12 * rows))
        total = moments[:width, :width]
        root = np.linalg.cholesky(inner + ridge) if len(inner) else inner
        news = (
            solve_triangular(root, cross, lower=True) if len(inner) else cross
        )  # of each window after those before it
        counts = range(0, len(inner) + 1, width)
        predicted = [news[:count].T @ news[:count] for count in counts]
        shares = [np.mean(np.diag(part) / np.maximum(np.diag(total), 1e-12)) for part in predicted]
        used = _useful(np.array(shares), width / max(rows, 1), rows)
        weights = [solve_triangular(root[:count, :count].T, news[:count]) for count in counts[1 : used + 1]]
        shaped = [weight.reshape(-1, width, width).astype(np.float32) for weight in weights]
        return shaped, _whitening((total - predicted[used]) / max(rows, 1))


def _useful(shares: Float[np.ndarray, " level"], chance: float, rows: int) -> int:
    """The fewest windows after which all others together explain no more than chance."""
    others = chance * np.arange(len(shares) - 1, -1, -1)
    return int(np.argmax(shares[-1] - shares <= others + CHANCE * np.sqrt(2 * others / max(rows, 1))))


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
