// Recurrent weights, laid out once per call in the order in which the products read them.
#pragma once
#include "product.hpp"

namespace {

// panel[k][c][lane] = W[row(c) + lane][k], zero where row(c) + lane is no unit any more: `units(c)` are left.
template <class T, class Row, class Units> void pack_transposed(const T* W, int64_t K, int64_t vectors, Row row, Units units, T* panel) {
    constexpr int64_t L = LANES<T>, BLOCK = LINE / sizeof(T);
    for (int64_t c = 0; c < vectors; c++) {
        const T* from = W + row(c) * K;
        const int64_t n = std::min<int64_t>(L, units(c));
        for (int64_t block = 0; block < K; block += BLOCK)  // a line of each row at a time: reads and writes stay in the cache
            for (int64_t k = block; k < std::min(K, block + BLOCK); k++)
                for (int64_t lane = 0; lane < L; lane++) panel[(k * vectors + c) * L + lane] = lane < n ? from[lane * K + k] : T(0);
    }
}

// W [G H, K] for h W': the G gates of a vector of units side by side; as the panels' rows from `first` on
template <class T>
void pack_gates(const T* W, int64_t G, int64_t H, int64_t K, const Panels<T>& to, int64_t share, int64_t shares, int64_t first = 0) {
    int64_t i = 0;
    to.each([&](int64_t column, int64_t vectors, T* panel) {
        if (i++ % shares != share) return;
        const auto gate = [&](int64_t c) { return (column / LANES<T> + c) % G; };
        const auto unit = [&](int64_t c) { return (column / LANES<T> + c) / G * LANES<T>; };
        T* rows = panel + first * vectors * LANES<T>;
        pack_transposed(W, K, vectors, [&](int64_t c) { return gate(c) * H + unit(c); }, [&](int64_t c) { return H - unit(c); }, rows);
    });
}

// W [K, columns] for da W: rows as they are
template <class T> void pack_rows(const T* W, const Panels<T>& to, int64_t share, int64_t shares) {
    const int64_t columns = to.columns;
    int64_t i = 0;
    to.each([&](int64_t j, int64_t vectors, T* panel) {
        if (i++ % shares != share) return;
        for (int64_t k = 0; k < to.K; k++)
            for (int64_t c = 0; c < vectors; c++)
                store(panel + (k * vectors + c) * LANES<T>, load(W + k * columns + j + c * LANES<T>, columns - j - c * LANES<T>));
    });
}

}  // namespace
