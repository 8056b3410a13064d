// The product of a few rows with a packed matrix: the inner loop of every scan, forwards and backwards.
#pragma once
#include <algorithm>
#include <type_traits>

#include "vector.hpp"

namespace {

// Rows a register tile holds for C vectors of columns: accumulators, the C weights and a broadcast have to fit.
template <int C> constexpr int TILE_ROWS =
#if defined(__AVX512F__)
    C == 4 ? 6 : 8;
#else
    C == 4 ? 2 : C == 3 ? 3 : C == 2 ? 5 : 8;
#endif

// Hands f the number n as a constant of the compiler's, 1 <= n <= MOST.
template <int MOST, class F> inline void as_constant(int64_t n, F&& f) {
    if constexpr (MOST > 1) {
        if (n < MOST) return as_constant<MOST - 1>(n, f);
    }
    f(std::integral_constant<int, MOST>{});
}

// Cuts n things into pieces of at most `most`, as even as can be: 8 by 6 are 4 and 4, not 6 and 2.
template <class F> inline void in_pieces(int64_t n, int64_t most, F&& f) {
    const int64_t pieces = (n + most - 1) / most;
    for (int64_t i = 0, from = 0; i < pieces; i++) {
        const int64_t to = n * (i + 1) / pieces;
        f(from, to - from);
        from = to;
    }
}

// total[r][c] += sum over k of a[r][k] * w[k][c]
template <class T, int R, int C>
inline __attribute__((always_inline)) void multiply(const T* const* rows, const T* w, int64_t K, Vector<T> (&total)[R][C]) {
    constexpr int UNROLL = R * C >= 8 ? 1 : (8 + R * C - 1) / (R * C);  // a sum waits 4 cycles for itself: keep 8 on the way
    constexpr int64_t WIDTH = C * LANES<T>;
    const T* a[R];
    Vector<T> part[UNROLL][R][C];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        a[r] = rows[r];
#pragma GCC unroll 8
        for (int u = 0; u < UNROLL; u++)
#pragma GCC unroll 4
            for (int c = 0; c < C; c++) part[u][r][c] = u == 0 ? total[r][c] : Vector<T>{};
    }
    const auto at = [&](int u, int64_t k) __attribute__((always_inline)) {
        Vector<T> column[C];
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) column[c] = load(w + k * WIDTH + c * LANES<T>);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const Vector<T> x = every(a[r][k]);
#pragma GCC unroll 4
            for (int c = 0; c < C; c++) part[u][r][c] += x * column[c];
        }
    };
    int64_t k = 0;
    for (; k + UNROLL <= K; k += UNROLL) {
#pragma GCC unroll 8
        for (int u = 0; u < UNROLL; u++) at(u, k + u);
    }
    for (; k < K; k++) at(0, k);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) {
            Vector<T> s = part[0][r][c];
#pragma GCC unroll 8
            for (int u = 1; u < UNROLL; u++) s += part[u][r][c];
            total[r][c] = s;
        }
}

// A matrix cut into panels of a few vectors of columns, each panel contiguous in the order in which `multiply` reads it.
template <class T> struct Panels {
    T* data;
    int64_t K, columns;
    static int64_t size(int64_t K, int64_t columns) { return K * ((columns + LANES<T> - 1) / LANES<T>) * LANES<T>; }

    // f(first column, vectors, panel)
    template <class F> void each(F&& f) const {
        in_pieces((columns + LANES<T> - 1) / LANES<T>, 4, [&](int64_t first, int64_t vectors) {
            f(first * LANES<T>, vectors, data + first * LANES<T> * K);
        });
    }
};

// out[r] += rows[r] W; where `more` is given, the columns of a row from `split` on are those of more[r] (a GRU's gradients lie in two places).
template <class T>
void add_product(const T* const* rows, const T* const* more, int64_t split, const Panels<T>& W, T* out, int64_t width, int64_t n) {
    W.each([&](int64_t j, int64_t vectors, const T* panel) {
        as_constant<4>(vectors, [&](auto C) {
            in_pieces(n, TILE_ROWS<C.value>, [&](int64_t from, int64_t count) {
                as_constant<TILE_ROWS<C.value>>(count, [&](auto R) {
                    Vector<T> total[R.value][C.value];
                    for (int r = 0; r < R.value; r++)
                        for (int c = 0; c < C.value; c++) total[r][c] = load(out + (from + r) * width + j + c * LANES<T>);
                    multiply<T, R.value, C.value>(rows + from, panel, more ? split : W.K, total);
                    if (more) multiply<T, R.value, C.value>(more + from, panel + split * C.value * LANES<T>, W.K - split, total);
                    for (int r = 0; r < R.value; r++)
                        for (int c = 0; c < C.value; c++) store(out + (from + r) * width + j + c * LANES<T>, total[r][c]);
                });
            });
        });
    });
}

}  // namespace
