"""Singular values of long products against closed forms, LAPACK where it can, and 400 digits where it cannot."""

import math

import mpmath
import pytest
import torch
from tests.unrolled import unroll
from torch import nn

import longreach
from longreach.errors import ArgumentError
from longreach.nn import cells
from longreach.probes.lags import check_lags
from longreach.spectrum.orbit import orbits
from longreach.spectrum.singular import SingularValues, Stretches, log_singular_values, power

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own


def drawn(module, std=0.7):
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=std)
    return module


def test_a_symmetric_linear_network_has_powers_of_its_eigenvalues():
    eigenvalues = torch.tensor([1.2, 0.9, 0.9, -1e-3, 0.0]).double()
    basis, _ = torch.linalg.qr(torch.randn(5, 5).double())
    cell = cells.Elman(1, 5, activation="identity", dtype=torch.float64)
    cell.weight_hh.data.copy_(basis[:, :4] @ eigenvalues[:4].diag() @ basis[:, :4].T)
    (found,) = longreach.singular_values(cell, torch.randn(201, 1), [0, 1, 200]).places
    for lag, log in zip((0, 1, 200), found.log[:, 0], strict=True):
        expected = [lag * math.log(abs(value)) for value in eigenvalues[:4]]  # down to 1e-600
        assert log[:4].tolist() == pytest.approx(expected, abs=1e-10)
    assert found.log[1, 0, 4] == -math.inf


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_over_few_steps_the_same_as_of_the_product_by_autograd(kind):
    module, x = drawn(kind(2, 4, bidirectional=True)), torch.randn(7, 3, 2).double()
    places, _ = unroll(module, x)
    spectrum = longreach.singular_values(module, x, (0, 1, 3, 6))
    for found, place in zip(spectrum.places, places, strict=True):
        widths = [part.shape[1] for part in place.states[0]]
        for lag, log in zip(spectrum.lags, found.log, strict=True):
            for row in range(3):

                def after(state, lag=lag, row=row, place=place, widths=widths):
                    parts = state[None].split(widths, -1)
                    for inputs in place.inputs[7 - lag :]:
                        parts = place.step(inputs[row : row + 1].detach(), parts)
                    return torch.cat(parts, -1)[0]

                before = torch.cat([part[row] for part in place.states[6 - lag]]).detach()
                jacobian = torch.autograd.functional.jacobian(after, before)
                values = torch.linalg.svdvals(jacobian)
                torch.testing.assert_close(log[row].exp(), values, rtol=0, atol=1e-14)
                gain = jacobian.norm() / math.sqrt(len(jacobian))
                assert found.log_gain[spectrum.lags.index(lag), row].item() == pytest.approx(
                    gain.log().item(), abs=1e-12
                )


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
def test_over_many_steps_the_same_as_with_400_digits(kind):
    module, x = drawn(kind(2, 3), 0.9), torch.randn(100, 2).double()
    (found,), orbit = longreach.singular_values(module, x, [5, 99]).places, next(orbits(module, x))
    with mpmath.workdps(400):
        product = mpmath.eye(orbit.states.shape[2])
        for lag in range(1, 100):
            product = product * mpmath.matrix(orbit.jacobian(100 - lag)[0].tolist())
            if lag in (5, 99):
                values = [float(mpmath.log(value)) for value in mpmath.svd_r(product, compute_uv=False)]
                assert found.log[int(lag == 99), 0].tolist() == pytest.approx(values, abs=1e-7)
    assert values[-1] < math.log(1e-150)


def test_the_rows_may_lie_beyond_any_float():
    basis, _ = torch.linalg.qr(torch.randn(1, 4, 4).double())
    d = torch.tensor([[2000.0, 1.0, 0.5, -3000.0]]).double()
    torch.testing.assert_close(log_singular_values(d, torch.eye(4).double()[None]), d, rtol=0, atol=0)
    found = log_singular_values(d[:, :1].expand(1, 4), basis)
    torch.testing.assert_close(found, torch.full((1, 4), 2000.0).double(), rtol=0, atol=1e-11)
    graded = torch.randn(1, 4, 4).double()
    moderate = d.clamp(-6, 6)
    expected = torch.linalg.svdvals(moderate.exp()[0, :, None] * graded[0]).log()
    torch.testing.assert_close(log_singular_values(moderate, graded)[0], expected, rtol=0, atol=1e-9)


def test_a_layer_that_is_partly_off_has_zeros_and_a_single_unit_works():
    rnn = nn.RNN(2, 4, nonlinearity="relu")
    rnn.bias_hh_l0.data.copy_(torch.tensor([9.0, 9.0, -99.0, -99.0]))
    (found,) = longreach.singular_values(rnn, torch.randn(30, 2), [1, 10, 29]).places
    assert (found.log[:, 0, 2:] == -math.inf).all()
    assert found.log[:, 0, :2].isfinite().all()
    unit, x = nn.RNN(1, 1).double(), torch.randn(30, 2, 1).double()
    slopes = unit.weight_hh_l0[0, 0] * (1 - unit(x)[0].square())
    (found,) = longreach.singular_values(unit, x, [20]).places
    torch.testing.assert_close(found.log[0], slopes[10:].abs().log().sum(0).detach(), rtol=0, atol=1e-11)


def test_as_text():
    log = torch.tensor([[[0.0, 0.0, 0.0]], [[-1.0, -4.7, -950.0]]]).double()
    text = str(SingularValues((0, 20), (Stretches(0, False, log), Stretches(1, True, log))))
    assert text.splitlines()[:4] == [
        "Singular values of ∂s_t/∂s_{t-k}",
        "layer 0            lag     largest      median    smallest   1% survives in",
        "                     0           1           1           1   3 of 3 directions",
        "                    20        0.37      0.0091    2.6e-413   1 of 3 directions",
    ]
    assert text.splitlines()[4].startswith("layer 1 reverse")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.73, "0.73"),
        (5.0, "5"),
        (99.4, "99"),
        (123.0, "1.2e2"),
        (0.001, "0.001"),
        (2e-5, "2.0e-5"),
        (0.0, "0"),
        (9.96e7, "1.0e8"),
    ],
)
def test_numbers_of_any_size(value, text):
    assert power(math.log(value) if value else -math.inf) == text


@pytest.mark.parametrize("lags", [[], [-1], [20], [1.5], 3])
def test_lags_that_do_not_exist(lags):
    with pytest.raises(ArgumentError, match="lags: expected whole numbers from 0 to 19, the steps of the inputs less"):
        check_lags(lags, 19)


def test_the_inputs_tell_which_lags_exist():
    with pytest.raises(ArgumentError, match="from 0 to 19"):
        longreach.singular_values(nn.LSTM(2, 3), torch.zeros(20, 2), [1, 20])
