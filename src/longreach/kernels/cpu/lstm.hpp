// i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of W h_{t-1} + a_t;  c_t = f c_{t-1} + i g;  h_t = o tanh(c_t).
// With peepholes p [3H], a gate sees its own unit's memory besides: i and f p c_{t-1}, o p c_t.
#pragma once
#include "product.hpp"

namespace {

// Where the input's part of a comes from: of x [N, size] by the last rows of W, and bias [4H]; or, x null, it is in `gates`.
template <class T> struct Input {
    const T* x;
    int64_t size;
    const T* bias;
};

// W: panels of one vector of units, its four gates side by side.  p: or null.
// gates [N, 4H]: a comes in, if there is no x; i, f, g, o go out, if it keeps them.
template <class T>
void lstm_forward(const Steps& s, const Panels<T>& W, const T* p, const Input<T>& input, T* gates, bool keeps, const T* h0, const T* c0, T* h, T* c, T* h_n,
                  T* c_n, int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    std::vector<const T*> before(walk.count), cells_before(walk.count), inputs(walk.count);
    const int64_t H = s.H;
    Room<T> room(W, walk.count);
    walk.forwards([&](int64_t t, int64_t row, int64_t n) {
        walk.states_before(t, h, h0, before.data());
        walk.states_before(t, c, c0, cells_before.data());
        for (int64_t r = 0; r < n; r++) inputs[r] = input.x + (row + r) * input.size;
        const auto soon = [&](int64_t r, int64_t j) {
            const T* gate = gates + (row + r) * 4 * H + j;
            for (int g = 0; g < 4; g++) __builtin_prefetch(gate + g * H, 1);
            __builtin_prefetch(h + (row + r) * H + j, 1);
            __builtin_prefetch(c + (row + r) * H + j, 1);
        };
        const auto step = [&](int64_t r, int64_t j, Vector<T>* sums) __attribute__((always_inline)) {
            T* gate = gates + (row + r) * 4 * H + j;
            const T* a = input.x ? input.bias + j : gate;
            const int64_t at = (row + r) * H + j, mine = H - j;
            const Vector<T> earlier = load(cells_before[r] + j, mine);
            const auto seen = [&](int64_t k, Vector<T> memory) { return p ? load(p + k * H + j, mine) * memory : Vector<T>{}; };
            const Vector<T> i = sigmoid<T>(sums[0] + load(a, mine) + seen(0, earlier));
            const Vector<T> f = sigmoid<T>(sums[1] + load(a + H, mine) + seen(1, earlier));
            const Vector<T> g = hyperbolic_tangent<T>(sums[2] + load(a + 2 * H, mine));
            const Vector<T> cell = f * earlier + i * g;
            const Vector<T> o = sigmoid<T>(sums[3] + load(a + 3 * H, mine) + seen(2, cell));
            if (keeps) {
                store(gate, i, mine);
                store(gate + H, f, mine);
                store(gate + 2 * H, g, mine);
                store(gate + 3 * H, o, mine);
            }
            store(c + at, cell, mine);
            sums[0] = cell;
            sums[1] = o;
        };
        const auto squash = [&](int64_t r, int64_t j, const Vector<T>* sums) __attribute__((always_inline)) {
            store(h + (row + r) * H + j, sums[1] * hyperbolic_tangent<T>(sums[0]), H - j);
        };
        product<T, 4, 2>({{before.data(), H}, {inputs.data(), input.size}}, W, n, t, room, soon, step, squash);
    });
    walk.last_states(h, h0, h_n);
    walk.last_states(c, c0, c_n);
}

// da [N, 4H];  norms [2, N]: of dL/dh_t, and of dL/dc_t with the path through h_t.
template <class T>
void lstm_backward(const Steps& s, const Panels<T>& W, const T* p, const T* dh, const T* dh_n, const T* dc_n, const T* gates, const T* c, const T* c0, T* da,
                   T* dh0, T* dc0, T* norms, int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    const int64_t H = s.H, width = padded<T>(H), N = walk.rows();
    Scratch<T> carried(walk.count * width), carried_cell(walk.count * width), total(width), total_cell(width);
    Room<T> room(W, walk.count);
    carried.zero(walk.count * width);
    carried_cell.zero(walk.count * width);
    for (int64_t r = 0; r < walk.count; r++) {
        if (dh_n) std::copy_n(dh_n + (first + r) * H, H, carried + r * width);
        if (dc_n) std::copy_n(dc_n + (first + r) * H, H, carried_cell + r * width);
    }
    std::vector<const T*> cells_before(walk.count), rows_of_da(walk.count);
    walk.backwards([&](int64_t t, int64_t row, int64_t n) {
        walk.states_before(t, c, c0, cells_before.data());
        for (int64_t r = 0; r < n; r++) {
            const int64_t at = (row + r) * H;
            const T* gate = gates + 4 * at;
            T* d_a = da + 4 * at;
            T *carry = carried + r * width, *carry_cell = carried_cell + r * width;
            Vector<T> squares{}, squares_cell{};
            for (int64_t j = 0; j < H; j += LANES<T>) {
                const int64_t mine = H - j;
                const Vector<T> d = dh ? load(carry + j) + load(dh + at + j, mine) : load(carry + j);
                const Vector<T> i = load(gate + j, mine), f = load(gate + H + j, mine), g = load(gate + 2 * H + j, mine), o = load(gate + 3 * H + j, mine);
                const Vector<T> squashed = hyperbolic_tangent<T>(load(c + at + j, mine));
                const Vector<T> d_o = d * squashed * o * (T(1) - o);
                Vector<T> d_cell = load(carry_cell + j) + d * o * (T(1) - squashed * squashed);
                if (p) d_cell += d_o * load(p + 2 * H + j, mine);
                const Vector<T> d_i = d_cell * g * i * (T(1) - i), d_f = d_cell * load(cells_before[r] + j, mine) * f * (T(1) - f);
                Vector<T> d_earlier = d_cell * f;
                if (p) d_earlier += d_i * load(p + j, mine) + d_f * load(p + H + j, mine);
                store(total + j, d);
                store(total_cell + j, d_cell);
                squares += d * d;
                squares_cell += d_cell * d_cell;
                store(d_a + j, d_i, mine);
                store(d_a + H + j, d_f, mine);
                store(d_a + 2 * H + j, d_cell * i * (T(1) - g * g), mine);
                store(d_a + 3 * H + j, d_o, mine);
                store(carry + j, Vector<T>{});
                store(carry_cell + j, d_earlier);
            }
            norms[row + r] = norm<T>(squares, total, H);
            norms[N + row + r] = norm<T>(squares_cell, total_cell, H);
            rows_of_da[r] = d_a;
        }
        if (!walk.whole_step_cut(t)) add_product<T, 1>({{rows_of_da.data(), 4 * H}}, W, n, t, room, carried, width);
        T* const parts[] = {carried, carried_cell};
        walk.limit(t, parts, 2, width);
    });
    for (int64_t r = 0; r < walk.count; r++) {
        std::copy_n(carried + r * width, H, dh0 + (first + r) * H);
        std::copy_n(carried_cell + r * width, H, dc0 + (first + r) * H);
    }
}

}  // namespace
