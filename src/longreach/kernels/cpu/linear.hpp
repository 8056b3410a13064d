// h_t = a_t h_{t-1} + x_t and h_t = f(u_t h_{t-1} + x_t), unit by unit. Both forwards only: the gradient of either is the
// first again, the other way round. a and u: a row for each row of x, or one for all (`stride` 0).
#pragma once
#include "elman.hpp"
#include "steps.hpp"

namespace {

template <class T> void linear(const Steps& s, const T* x, const T* a, int64_t stride, const T* h0, T* h, int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    std::vector<const T*> before(walk.count);
    walk.forwards([&](int64_t t, int64_t row, int64_t n) {
        walk.states_before(t, h, h0, before.data());
        for (int64_t r = 0; r < n; r++) {
            const int64_t at = (row + r) * s.H;
            for (int64_t j = 0; j < s.H; j += LANES<T>) {
                const int64_t mine = s.H - j;
                store(h + at + j, load(a + (row + r) * stride + j, mine) * load(before[r] + j, mine) + load(x + at + j, mine), mine);
            }
        }
    });
}

// complex numbers as pairs: s.H is twice the number of units
template <class T> void linear_complex(const Steps& s, const T* x, const T* a, int64_t stride, const T* h0, T* h, int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    std::vector<const T*> before(walk.count);
    walk.forwards([&](int64_t t, int64_t row, int64_t n) {
        walk.states_before(t, h, h0, before.data());
        for (int64_t r = 0; r < n; r++) {
            const T *in = x + (row + r) * s.H, *factor = a + (row + r) * stride, *earlier = before[r];
            T* __restrict out = h + (row + r) * s.H;
            for (int64_t j = 0; j < s.H; j += 2) {
                out[j] = factor[j] * earlier[j] - factor[j + 1] * earlier[j + 1] + in[j];
                out[j + 1] = factor[j] * earlier[j + 1] + factor[j + 1] * earlier[j] + in[j + 1];
            }
        }
    });
}

template <class T>
void diagonal(const Steps& s, Activation f, const T* x, const T* u, int64_t stride, const T* h0, T* h, int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    std::vector<const T*> before(walk.count);
    walk.forwards([&](int64_t t, int64_t row, int64_t n) {
        walk.states_before(t, h, h0, before.data());
        for (int64_t r = 0; r < n; r++) {
            const int64_t at = (row + r) * s.H;
            for (int64_t j = 0; j < s.H; j += LANES<T>) {
                const int64_t mine = s.H - j;
                const Vector<T> a = load(u + (row + r) * stride + j, mine) * load(before[r] + j, mine) + load(x + at + j, mine);
                store(h + at + j, activate<T>(f, a, Vector<T>{}), mine);
            }
        }
    });
}

}  // namespace
