// The product of a few rows with packed weights: the inner loop of every scan, forwards and backwards.
//
// Weights that stay in the second-level cache are read in panels of several vectors of columns, for as few rows as
// registers have room for besides: no load port is ever the limit. Weights that are larger come from the third level,
// far more slowly than that would read them, so there the tile is one or two vectors of columns and as many
// rows as there are registers: each number fetched is used that often, and computing hardly waits.
#pragma once
#include <algorithm>
#include <type_traits>

#include "steps.hpp"
#include "vector.hpp"

namespace {

// Rows of a tile of C vectors of columns: accumulators, the C weights and a broadcast have to fit the registers.
template <int C> constexpr int TILE_ROWS =
#if defined(__AVX512F__)
    C == 4 ? 6 : 8;
template <int C> constexpr int STREAMED_ROWS = C == 2 ? 14 : 16;
#else
    C == 4 ? 2 : C == 3 ? 3 : C == 2 ? 5 : 8;
template <int C> constexpr int STREAMED_ROWS = C == 2 ? 6 : 8;
#endif
constexpr int TALL = STREAMED_ROWS<1>;  // rows that one tile can take; more are shared out to wider, lower ones

// n, rounded up to whole vectors
template <class T> constexpr int64_t padded(int64_t n) { return (n + LANES<T> - 1) / LANES<T> * LANES<T>; }

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

// total[r][c] += sum over k of left(r, k) * w[k][c]
template <class T, int R, int C, class Left>
inline __attribute__((always_inline)) void multiply(const Left& left, const T* w, int64_t K, Vector<T> (&total)[R][C]) {
    constexpr int UNROLL = R * C >= 8 ? 1 : (8 + R * C - 1) / (R * C);  // a sum waits 4 cycles for itself: keep 8 on the way
    Vector<T> part[UNROLL][R][C];
#pragma GCC unroll 8
    for (int u = 0; u < UNROLL; u++)
#pragma GCC unroll 16
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int c = 0; c < C; c++) part[u][r][c] = u == 0 ? total[r][c] : Vector<T>{};
    const auto at = [&](int u, int64_t k) __attribute__((always_inline)) {
        Vector<T> column[C];
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) column[c] = load(w + (k * C + c) * LANES<T>);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
            const Vector<T> x = every(left(r, k));
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
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) {
            Vector<T> s = part[0][r][c];
#pragma GCC unroll 8
            for (int u = 1; u < UNROLL; u++) s += part[u][r][c];
            total[r][c] = s;
        }
}

// Weights cut into panels of up to `most` vectors of columns, each contiguous in the order in which `multiply` reads it.
template <class T> struct Panels {
    T* data;
    int64_t K, columns;
    int most;
    bool streamed;

    int64_t streamed_rows() const { return most == 1 ? STREAMED_ROWS<1> : STREAMED_ROWS<2>; }

    // f(first column, vectors, panel)
    template <class F> void each(F&& f) const {
        in_pieces(padded<T>(columns) / LANES<T>, most, [&](int64_t first, int64_t vectors) { f(first * LANES<T>, vectors, data + first * LANES<T> * K); });
    }

    // The same, every second time from the last to the first: of weights that the cache cannot hold, those read last are
    // still there, and are read first.
    template <class F> void to_and_fro(int64_t time, F&& f) const {
        const int64_t all = padded<T>(columns) / LANES<T>, pieces = (all + most - 1) / most;
        for (int64_t n = 0; n < pieces; n++) {
            const int64_t i = time % 2 ? pieces - 1 - n : n, first = all * i / pieces, vectors = all * (i + 1) / pieces - first;
            f(first * LANES<T>, vectors, data + first * LANES<T> * K);
        }
    }
};

// Columns of the left factor that lie next to each other in every row.
template <class T> struct Columns {
    const T* const* rows;
    int64_t count;
};

// v[i][j] -> v[j][i], a vector's lanes against as many vectors
template <class T> inline void transpose(Vector<T> (&v)[LANES<T>]) {
    using Index = typename Register<T>::integer;
#pragma GCC unroll 4
    for (int s = 1; s < LANES<T>; s *= 2) {
        Index upper, lower;
        for (int i = 0; i < LANES<T>; i++) {
            upper[i] = i & s ? LANES<T> + (i ^ s) : i;
            lower[i] = i & s ? LANES<T> + i : i ^ s;
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES<T>; i++)
            if (!(i & s)) {
                const Vector<T> a = v[i], b = v[i + s];
                v[i] = __builtin_shuffle(a, b, upper);
                v[i + s] = __builtin_shuffle(a, b, lower);
            }
    }
}

// The left factor of a streamed product, laid out as its tiles read it: for each piece of the rows [k][TALL].
template <class T, int PARTS> void lay_out(const Columns<T> (&left)[PARTS], const Panels<T>& W, int64_t n, T* out) {
    constexpr int64_t L = LANES<T>;
    in_pieces(n, W.streamed_rows(), [&](int64_t from, int64_t rows) {
        for (const Columns<T>& part : left) {
            for (int64_t first = 0; first < rows; first += L)
                for (int64_t k = 0; k < part.count; k += L) {
                    Vector<T> v[L];
                    for (int64_t i = 0; i < L; i++) v[i] = first + i < rows ? load(part.rows[from + first + i] + k, part.count - k) : Vector<T>{};
                    transpose<T>(v);
                    for (int64_t i = 0; i < std::min(L, part.count - k); i++) store(out + (k + i) * TALL + first, v[i]);
                }
            out += part.count * TALL;
        }
    });
}

struct Nothing {
    template <class... Arguments> void operator()(Arguments&&...) const {}
};

// done(row, unit, sums [G]) for sums over the left factor as laid out, a vector of units at a time. The gates of a unit
// lie in successive panels, so that their sums meet in `gathered` [n][max(G, 2)].
template <class T, int G, class Soon, class Done, class Then>
void streamed_product(const T* left, const Panels<T>& W, int64_t n, int64_t time, Vector<T>* gathered, Soon&& soon, Done&& done, Then&& then) {
    constexpr int64_t SLOTS = std::max(G, 2);
    W.to_and_fro(time, [&](int64_t column, int64_t vectors, const T* panel) {
        const int64_t first = column / LANES<T>, gate = G > 1 ? first % G : 0;
        if (G == 1 || (time % 2 ? gate + vectors == G : gate == 0))
            for (int64_t row = 0; row < n; row++)
                for (int64_t c = 0; c < (G == 1 ? vectors : 1); c++) soon(row, (first / G + c) * LANES<T>);
        as_constant<2>(vectors, [&](auto C) {
            const T* rows = left;
            in_pieces(n, W.streamed_rows(), [&](int64_t from, int64_t count) {
                as_constant<STREAMED_ROWS<C.value>>(count, [&](auto R) {
                    Vector<T> total[R.value][C.value] = {};
                    multiply<T, R.value, C.value>([rows](int r, int64_t k) __attribute__((always_inline)) { return rows[k * TALL + r]; }, panel, W.K, total);
#pragma GCC unroll 16
                    for (int r = 0; r < R.value; r++)
                        for (int c = 0; c < C.value; c++) gathered[(from + r) * SLOTS + gate + c] = total[r][c];
                });
                rows += TALL * W.K;
            });
        });
        const auto all = [&](auto&& function) {
            for (int64_t row = 0; row < n; row++)
                for (int64_t c = 0; c < (G == 1 ? vectors : 1); c++) function(row, (first / G + c) * LANES<T>, gathered + row * SLOTS + c);
        };
        if (G == 1 || (time % 2 ? gate : gate + vectors) % G == 0) all(done), all(then);
    });
}

// What a streamed product works in.
template <class T> struct Room {
    Scratch<T> left, gathered;
    Room(const Panels<T>& W, int64_t n)
        : left(W.streamed ? (n / W.streamed_rows() + 1) * TALL * W.K : 0), gathered(W.streamed ? n * 4 * LANES<T> : 0) {}
    Vector<T>* sums() { return reinterpret_cast<Vector<T>*>(gathered.data); }
};

// done(row, unit, sums [G]) for the sums over k of (left[0][row], left[1][row] ...)[k] W[k][gate, unit ...], a vector of
// units at a time; soon(row, unit) long enough before that what `done` will touch can be fetched; then(row, unit, sums [G])
// when it is done for several rows: where one result is slow to follow from another, those of the other rows go on meanwhile.
template <class T, int G, int PARTS, class Soon, class Done, class Then = Nothing>
void product(const Columns<T> (&left)[PARTS], const Panels<T>& W, int64_t n, int64_t time, Room<T>& room, Soon&& soon, Done&& done, Then&& then = {}) {
    if (W.streamed) {
        lay_out<T, PARTS>(left, W, n, room.left.data);
        return streamed_product<T, G>(room.left.data, W, n, time, room.sums(), soon, done, then);
    }
    constexpr int WIDEST = G == 1 ? 4 : G;
    W.to_and_fro(time, [&](int64_t column, int64_t vectors, const T* panel) {
        as_constant<WIDEST>(vectors, [&](auto C) {
            in_pieces(n, TILE_ROWS<C.value>, [&](int64_t from, int64_t count) {
                as_constant<TILE_ROWS<C.value>>(count, [&](auto R) {
                    for (int r = 0; r < R.value; r++)
                        for (int c = 0; c < C.value; c += G) soon(from + r, column / G + c * LANES<T>);
                    Vector<T> total[R.value][C.value] = {};
                    const T* w = panel;
                    for (const Columns<T>& part : left) {
                        const T* a[R.value];
                        for (int r = 0; r < R.value; r++) a[r] = part.rows[from + r];
                        multiply<T, R.value, C.value>([&a](int r, int64_t k) __attribute__((always_inline)) { return a[r][k]; }, w, part.count, total);
                        w += part.count * C.value * LANES<T>;
                    }
                    for (int r = 0; r < R.value; r++)
                        for (int c = 0; c < C.value; c += G) done(from + r, column / G + c * LANES<T>, total[r] + c);
                    for (int r = 0; r < R.value; r++)
                        for (int c = 0; c < C.value; c += G) then(from + r, column / G + c * LANES<T>, total[r] + c);
                });
            });
        });
    });
}

// out[row] += (left[0][row], left[1][row] ...) W, rows of `out` `width` apart
template <class T, int PARTS> void add_product(const Columns<T> (&left)[PARTS], const Panels<T>& W, int64_t n, int64_t time, Room<T>& room, T* out, int64_t width) {
    if (W.streamed) {
        lay_out<T, PARTS>(left, W, n, room.left.data);
        const auto add = [&](int64_t row, int64_t j, const Vector<T>* sums) {
            T* at = out + row * width + j;
            store(at, load(at) + sums[0]);
        };
        return streamed_product<T, 1>(room.left.data, W, n, time, room.sums(), Nothing{}, add, Nothing{});
    }
    constexpr int64_t BLOCK = 1024;  // a part of a panel that several blocks of rows read from the second-level cache
    W.to_and_fro(time, [&](int64_t j, int64_t vectors, const T* panel) {
        as_constant<4>(vectors, [&](auto C) {
            const T* w = panel;
            for (const Columns<T>& part : left) {
                for (int64_t block = 0; block < part.count; block += BLOCK) {
                    const int64_t K = std::min(BLOCK, part.count - block);
                    in_pieces(n, TILE_ROWS<C.value>, [&](int64_t from, int64_t count) {
                        as_constant<TILE_ROWS<C.value>>(count, [&](auto R) {
                            const T* a[R.value];
                            for (int r = 0; r < R.value; r++) a[r] = part.rows[from + r] + block;
                            Vector<T> total[R.value][C.value] = {};  // added at the end: many small numbers, then the large one
                            multiply<T, R.value, C.value>([&a](int r, int64_t k) __attribute__((always_inline)) { return a[r][k]; }, w, K, total);
                            for (int r = 0; r < R.value; r++)
                                for (int c = 0; c < C.value; c++) {
                                    T* at = out + (from + r) * width + j + c * LANES<T>;
                                    store(at, load(at) + total[r][c]);
                                }
                        });
                    });
                    w += K * C.value * LANES<T>;
                }
            }
        });
    });
}

}  // namespace
