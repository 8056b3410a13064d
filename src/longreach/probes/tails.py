"""Reach through a whole model: how much of an output's sensitivity lies k steps back or further.

    a_j     = ‖∂(v · y_t)/∂x_{t-j}‖,   v random on the sphere of y_t's features, x the embedded input
    gain(k) = Σ_{j>=k} a_j / Σ_{j>=0} a_j,   the mean over anchors t

A linear recurrence of rate λ has a_j ∝ λʲ, and gain(k) = λᵏ: that of its state. Attention spread evenly over n steps
has gain(k) = 1 - k / n; judged lag by lag it would be 1 / n everywhere, and reach nowhere. A dilated convolution has
none beyond its receptive field. The mean, because attention to a single step lies at another lag in each row: shares
are bounded, so that no anchor can govern it.
"""

import numpy as np
from jaxtyping import Float, Int

# A sum over fewer lags than this part of all that have any influence is taken as a sum over so many: the last lags are
# few, and would be judged by their number.
SMALLEST_PART = 0.1
# A way round the recurrent layers of a model is believed in if it reaches more than so many times as far as they do.
FARTHER = 2.0


def gain(
    sizes: Float[np.ndarray, "row time"], ends: Int[np.ndarray, " row"]
) -> tuple[Float[np.ndarray, " lag"], int] | None:
    """gain(k) for k = 0, 1, ..., and the largest lag with any influence; None where nothing came back.

    sizes  ‖∂(v · y_t)/∂x_s‖ of each row at every step s, for its anchor t
    ends   the step s of the anchor: lag 0
    """
    lags = np.arange(int(ends.max(initial=0)) + 1)
    steps = ends[:, None] - lags
    back = np.where(steps >= 0, np.take_along_axis(sizes, np.maximum(steps, 0), axis=1), 0.0)
    total = back.sum(axis=1)
    sent = np.isfinite(total) & (total > 0)
    if not sent.any():
        return None
    back, total, known = back[sent], total[sent], steps[sent] >= 0
    last = len(lags) - 1 - np.argmax(back[:, ::-1] > 0, axis=1)
    tails = np.cumsum(back[:, ::-1], axis=1)[:, ::-1] / total[:, None]
    left = np.maximum(last[:, None] + 1 - lags, 1)
    tails = np.minimum(tails * np.maximum(SMALLEST_PART * (last[:, None] + 1) / left, 1.0), 1.0)
    tails[:, 0] = 1.0
    return np.where(known, tails, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), int(last.max())


def above_the_leak(
    sizes: Float[np.ndarray, "row time"], chosen: Int[np.ndarray, " chosen"], rounding: float
) -> Float[np.ndarray, "chosen time"]:
    """What came back in the rows that something was sent into, without what the statistics of a batch spread.

    rounding  share of a row's largest size that may be rounding: a Fourier transform has some of it at every step

    Batch norm ties every step of every row to every other, weakly, and many weak ties add up. Rows that nothing was
    sent into show how strongly: up to twice the largest of them is no influence.
    """
    others = np.delete(sizes, chosen, axis=0)
    own = sizes[chosen]
    floor = np.maximum(2 * others.max(initial=0.0), rounding * own.max(axis=1, initial=0.0, keepdims=True))
    return np.where(own > floor, own, 0.0)
