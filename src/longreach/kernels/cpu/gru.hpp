// r, z = sigmoid(W_r h + a_r), sigmoid(W_z h + a_z);  m = W_n h + b_n;  n = tanh(a_n + r m);  h_t = (1 - z) n + z h_{t-1}.
#pragma once
#include "product.hpp"

namespace {

// W: panels of one vector of units, its three gates side by side.  gates [N, 3H]: a comes in, r, z, n go out.  m [N, H]; null: neither is kept.
template <class T>
void gru_forward(const Steps& s, const Panels<T>& W, const T* bias, T* gates, const T* h0, T* h, T* m, T* h_n, int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    std::vector<const T*> before(walk.count);
    const int64_t H = s.H;
    Room<T> room(W, walk.count);
    walk.forwards([&](int64_t t, int64_t row, int64_t n) {
        walk.states_before(t, h, h0, before.data());
        const auto soon = [&](int64_t i, int64_t j) {
            const T* gate = gates + (row + i) * 3 * H + j;
            for (int g = 0; g < 3; g++) __builtin_prefetch(gate + g * H, 1);
            __builtin_prefetch(h + (row + i) * H + j, 1);
            if (m) __builtin_prefetch(m + (row + i) * H + j, 1);
        };
        product<T, 3, 1>({{before.data(), H}}, W, n, t, room, soon, [&](int64_t i, int64_t j, const Vector<T>* sums) {
            T* g = gates + (row + i) * 3 * H + j;
            const int64_t at = (row + i) * H + j, mine = H - j;
            const Vector<T> r = sigmoid<T>(sums[0] + load(g, mine));
            const Vector<T> z = sigmoid<T>(sums[1] + load(g + H, mine));
            const Vector<T> recurrent = bias ? sums[2] + load(bias + j, mine) : sums[2];
            const Vector<T> candidate = hyperbolic_tangent<T>(load(g + 2 * H, mine) + r * recurrent);
            if (m) {
                store(g, r, mine);
                store(g + H, z, mine);
                store(g + 2 * H, candidate, mine);
                store(m + at, recurrent, mine);
            }
            store(h + at, candidate + z * (load(before[i] + j, mine) - candidate), mine);
        });
    });
    walk.last_states(h, h0, h_n);
}

// da [N, 3H]: of a;  dm [N, H]: of m, whose first two thirds would be those of da.
template <class T>
void gru_backward(const Steps& s, const Panels<T>& W, const T* dh, const T* dh_n, const T* gates, const T* m, const T* h, const T* h0, T* da, T* dm, T* dh0,
                  T* norms, int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    const int64_t H = s.H, width = padded<T>(H);
    Scratch<T> carried(walk.count * width), total(width);
    Room<T> room(W, walk.count);
    carried.zero(walk.count * width);
    if (dh_n)
        for (int64_t r = 0; r < walk.count; r++) std::copy_n(dh_n + (first + r) * H, H, carried + r * width);
    std::vector<const T*> before(walk.count), rows_of_da(walk.count), rows_of_dm(walk.count);
    walk.backwards([&](int64_t t, int64_t row, int64_t n) {
        walk.states_before(t, h, h0, before.data());
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = (row + i) * H;
            const T* g = gates + 3 * at;
            T* d_a = da + 3 * at;
            T* carry = carried + i * width;
            Vector<T> squares{};
            for (int64_t j = 0; j < H; j += LANES<T>) {
                const int64_t mine = H - j;
                const Vector<T> d = dh ? load(carry + j) + load(dh + at + j, mine) : load(carry + j);
                store(total + j, d);
                squares += d * d;
                const Vector<T> r = load(g + j, mine), z = load(g + H + j, mine), candidate = load(g + 2 * H + j, mine);
                const Vector<T> dn = d * (T(1) - z) * (T(1) - candidate * candidate);
                store(d_a + j, dn * load(m + at + j, mine) * r * (T(1) - r), mine);
                store(d_a + H + j, d * (load(before[i] + j, mine) - candidate) * z * (T(1) - z), mine);
                store(d_a + 2 * H + j, dn, mine);
                store(dm + at + j, dn * r, mine);
                store(carry + j, d * z);
            }
            norms[row + i] = norm<T>(squares, total, H);
            rows_of_da[i] = d_a;
            rows_of_dm[i] = dm + at;
        }
        if (!walk.whole_step_cut(t)) add_product<T, 2>({{rows_of_da.data(), 2 * H}, {rows_of_dm.data(), H}}, W, n, t, room, carried, width);
        T* const parts[] = {carried};
        walk.limit(t, parts, 1, width);
    });
    for (int64_t r = 0; r < walk.count; r++) std::copy_n(carried + r * width, H, dh0 + (first + r) * H);
}

}  // namespace
