"""Every cell once more, as its paper's equations: one sequence at a time, one step at a time, no function shared."""

import torch

sigmoid, tanh = torch.sigmoid, torch.tanh


def of_torch(layer, **options):
    """The twin in torch: its layer, called with the weights of our cell."""

    def twin(cell):
        module = layer(cell.input_size, cell.hidden_size, **options)
        weights = {f"{name}_l0": weight for name, weight in cell.named_parameters()}
        return lambda x: torch.func.functional_call(module, weights, (x,))[0]

    return twin


def by_sequence(equations):
    """equations(cell, xs) -> outputs, for one sequence [T, I]; its twin takes [T, B, I]."""
    return lambda cell: lambda x: torch.stack([torch.stack(equations(cell, xs)) for xs in x.unbind(1)], 1)


def zeros(cell, count=1):
    found = [torch.zeros(cell.hidden_size, dtype=torch.float64) for _ in range(count)]
    return found if count > 1 else found[0]


@by_sequence
def leaky(cell, xs):
    h, out = zeros(cell), []
    for x in xs:
        new = tanh(cell.weight_hh @ h + cell.bias_hh + cell.weight_ih @ x + cell.bias_ih)
        h = h + 0.1 * (new - h)
        out.append(h)
    return out


@by_sequence
def orthogonal(cell, xs):
    W = cell.weight_hh
    torch.testing.assert_close(W.T @ W, torch.eye(cell.hidden_size, dtype=torch.float64))
    h, out = zeros(cell), []
    for x in xs:
        h = tanh(W @ h + cell.bias_hh + cell.weight_ih @ x + cell.bias_ih)
        out.append(h)
    return out


@by_sequence
def antisymmetric(cell, xs):
    W = cell.weight_hh - cell.weight_hh.T
    h, out = zeros(cell), []
    for x in xs:
        h = h + 0.1 * tanh(W @ h - 0.01 * h + cell.bias_hh + cell.weight_ih @ x + cell.bias_ih)
        out.append(h)
    return out


@by_sequence
def peephole(cell, xs):
    Wi, Wf, Wg, Wo = cell.weight_ih.chunk(4)
    Ui, Uf, Ug, Uo = cell.weight_hh.chunk(4)
    bi, bf, bg, bo = (cell.bias_ih + cell.bias_hh).chunk(4)
    pi, pf, po = cell.peepholes.chunk(3)
    (h, c), out = zeros(cell, 2), []
    for x in xs:
        i = sigmoid(Wi @ x + Ui @ h + bi + pi * c)
        f = sigmoid(Wf @ x + Uf @ h + bf + pf * c)
        c = f * c + i * tanh(Wg @ x + Ug @ h + bg)
        o = sigmoid(Wo @ x + Uo @ h + bo + po * c)
        h = o * tanh(c)
        out.append(h)
    return out


def skip(lag):
    @by_sequence
    def equations(cell, xs):
        inner, V = cell.inner, cell.weight_skip
        states = [zeros(cell)] * lag
        for x in xs:
            a = inner.weight_ih @ x + inner.bias_ih + inner.weight_hh @ states[-1] + inner.bias_hh
            states.append(tanh(a + V @ states[-lag]))
        return states[lag:]

    return equations


def dilated(lag):
    @by_sequence
    def equations(cell, xs):
        inner = cell.inner
        states = [zeros(cell)] * lag
        for x in xs:
            h = states[-lag]
            states.append(tanh(inner.weight_ih @ x + inner.bias_ih + inner.weight_hh @ h + inner.bias_hh))
        return states[lag:]

    return equations


def standard(a):
    return (a - a.mean()) / torch.sqrt(((a - a.mean()) ** 2).mean() + 1e-5)


@by_sequence
def layernorm_elman(cell, xs):
    norm, inner = cell.norm_x, cell.inner
    h, out = zeros(cell), []
    for x in xs:
        h = tanh(norm.weight * standard(inner.weight_hh @ h + inner.weight_ih @ x) + norm.bias)
        out.append(h)
    return out


@by_sequence
def layernorm_lstm(cell, xs):
    inner = cell.inner
    (h, c), out = zeros(cell, 2), []
    for x in xs:
        from_x = cell.norm_x.weight * standard(inner.weight_ih @ x) + cell.norm_x.bias
        i, f, g, o = (from_x + cell.norm_h.weight * standard(inner.weight_hh @ h)).chunk(4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(cell.norm_c.weight * standard(c) + cell.norm_c.bias)
        out.append(h)
    return out


@by_sequence
def batchnorm_lstm(cell, xs):
    """In evaluation, with the statistics of step t up to the last that are kept."""

    def norm(module, a, t):
        t = min(t, len(module.running_mean) - 1)
        return module.weight * (a - module.running_mean[t]) / torch.sqrt(module.running_var[t] + 1e-5)

    inner = cell.inner
    (h, c), out = zeros(cell, 2), []
    for t, x in enumerate(xs):
        from_x, from_h = norm(cell.norm_x, inner.weight_ih @ x, t), norm(cell.norm_h, inner.weight_hh @ h, t)
        i, f, g, o = (from_x + from_h + cell.bias).chunk(4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(norm(cell.norm_c, c, t) + cell.bias_c)
        out.append(h)
    return out


@by_sequence
def zoneout_lstm(cell, xs):
    """In evaluation, with the rates 0.05 for h and 0.5 for c; h is made of the new c."""
    inner, ((h, c), out) = cell.inner, (zeros(cell, 2), [])
    for x in xs:
        a = inner.weight_ih @ x + inner.bias_ih + inner.weight_hh @ h + inner.bias_hh
        i, f, g, o = a.chunk(4)
        new = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = 0.05 * h + 0.95 * sigmoid(o) * tanh(new)
        c = 0.5 * c + 0.5 * new
        out.append(h)
    return out


@by_sequence
def indrnn(cell, xs):
    h, out = zeros(cell), []
    for x in xs:
        h = torch.relu(cell.weight @ x + cell.bias + cell.u * h)
        out.append(h)
    return out


@by_sequence
def mingru(cell, xs):
    Wz, Wn = cell.weight.chunk(2)
    bz, bn = cell.bias.chunk(2)
    h, out = zeros(cell), []
    for x in xs:
        z = sigmoid(Wz @ x + bz)
        h = (1 - z) * h + z * (Wn @ x + bn)
        out.append(h)
    return out


@by_sequence
def minlstm(cell, xs):
    Wf, Wi, Wn = cell.weight.chunk(3)
    bf, bi, bn = cell.bias.chunk(3)
    h, out = zeros(cell), []
    for x in xs:
        f, i = sigmoid(Wf @ x + bf), sigmoid(Wi @ x + bi)
        h = f / (f + i) * h + i / (f + i) * (Wn @ x + bn)
        out.append(h)
    return out


@by_sequence
def lru(cell, xs):
    return linear(cell, xs, torch.exp(-torch.exp(cell.nu) + 1j * torch.exp(cell.theta)))


@by_sequence
def phases(cell, xs):
    return linear(cell, xs, torch.exp((-torch.exp(cell.nu) + 1j * cell.theta) / cell.lag))


def linear(cell, xs, factor):
    B, C = torch.complex(*cell.B), torch.complex(*cell.C)
    h, out = torch.zeros(cell.hidden_size, dtype=torch.complex128), []
    for x in xs:
        h = factor * h + torch.exp(cell.gamma) * (B @ (x + 0j))
        out.append((C @ h).real)
    return out


@by_sequence
def cornn(cell, xs):
    W, W_z = cell.weight_hh.chunk(2, 1)
    (y, z), out = zeros(cell, 2), []
    for x in xs:
        z = z + 0.042 * (tanh(W @ y + W_z @ z + cell.weight_ih @ x + cell.bias) - 2.7 * y - 4.7 * z)
        y = y + 0.042 * z
        out.append(y)
    return out


@by_sequence
def lem(cell, xs):
    W1, W2, Wy = cell.weight_y.chunk(3)
    V1, V2, Vy, Vz = cell.weight_ih.chunk(4)
    b1, b2, by, bz = cell.bias.chunk(4)
    (y, z), out = zeros(cell, 2), []
    for x in xs:
        d1, d2 = 0.5 * sigmoid(W1 @ y + V1 @ x + b1), 0.5 * sigmoid(W2 @ y + V2 @ x + b2)
        z = (1 - d1) * z + d1 * tanh(Wy @ y + Vy @ x + by)
        y = (1 - d2) * y + d2 * tanh(cell.weight_z @ z + Vz @ x + bz)
        out.append(y)
    return out
