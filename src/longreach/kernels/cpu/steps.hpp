// What all scans share: which rows a step has, where each row's state comes from, and where its gradient goes.
//
// Rows are time-major. Step t has rows offset(t) .. offset(t + 1), one for each sequence that lasts longer than t;
// sequences are sorted by falling length, so a step's sequences are the first size(t) of them. A thread walks through
// time with its own share of the sequences and never waits for another.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include "vector.hpp"

// The plain facts, as they come from Python.
struct Steps {
    int64_t T, B, H;
    const int64_t* sizes;   // rows of each step; null: B at every step
    const uint8_t* resets;  // rows that start from the zero state; null: none
    bool reverse;           // from the last step to the first
    int64_t cut;            // no gradient passes between t - 1 and t where t % cut == 0; 0: it always passes
    double clip;            // longest gradient that a step hands to the one before it
};

namespace {

constexpr int64_t LINE = 64;

template <class T> struct Scratch {
    T* data;
    explicit Scratch(int64_t n) : data(static_cast<T*>(std::aligned_alloc(LINE, (n * sizeof(T) / LINE + 1) * LINE))) {
        if (!data) throw std::bad_alloc();
    }
    ~Scratch() { std::free(data); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    operator T*() { return data; }
    void zero(int64_t n) { std::fill(data, data + n, T(0)); }
};

template <class T> class Walk {
  public:
    const int64_t T_, H, first, count;

    Walk(const Steps& s, int64_t first, int64_t last)
        : T_(s.T), H(s.H), first(first), count(last - first), s(s), offsets(s.T + 1), zeros(s.H, T(0)) {
        for (int64_t t = 0; t < s.T; t++) offsets[t + 1] = offsets[t] + size(t);
    }

    int64_t rows() const { return offsets[T_]; }
    int64_t row(int64_t t) const { return offsets[t] + first; }
    int64_t active(int64_t t) const { return t < 0 || t >= T_ ? 0 : std::max<int64_t>(0, std::min(count, size(t) - first)); }
    int64_t before(int64_t t) const { return s.reverse ? t + 1 : t - 1; }

    template <class F> void forwards(F&& f) const {
        for (int64_t i = 0; i < T_; i++) visit(s.reverse ? T_ - 1 - i : i, f);
    }
    template <class F> void backwards(F&& f) const {
        for (int64_t i = 0; i < T_; i++) visit(s.reverse ? i : T_ - 1 - i, f);
    }

    // The state from which step t starts: of the step before it, of the start, or zero.
    void states_before(int64_t t, const T* states, const T* start, const T** out) const {
        const int64_t n = active(t), known = active(before(t));
        const T* earlier = known ? states + row(before(t)) * H : nullptr;
        for (int64_t r = 0; r < n; r++) out[r] = r < known ? earlier + r * H : start + (first + r) * H;
        if (s.resets)
            for (int64_t r = 0; r < n; r++)
                if (s.resets[row(t) + r]) out[r] = zeros.data();
    }

    // The states after each sequence's last step.
    void last_states(const T* states, const T* start, T* out) const {
        for (int64_t r = 0; r < count; r++) {
            const int64_t n = length(r);
            const T* from = n ? states + (row(s.reverse ? 0 : n - 1) + r) * H : start + (first + r) * H;
            std::copy(from, from + H, out + (first + r) * H);
        }
    }

    bool whole_step_cut(int64_t t) const { return border_cut(t) && active(before(t)) >= active(t); }

    // Of the gradients that step t hands on: those that may not pass are zeroed, those too long are shortened.
    // Each is `parts` rows, `width` apart from one sequence to the next.
    void limit(int64_t t, T* const* carried, int parts, int64_t width) const {
        const int64_t n = active(t), known = active(before(t));
        for (int64_t r = 0; r < n; r++) {
            const bool stopped = (r < known && border_cut(t)) || (s.resets && s.resets[row(t) + r]);
            if (stopped)
                for (int p = 0; p < parts; p++) std::fill(carried[p] + r * width, carried[p] + r * width + H, T(0));
            else if (s.clip < std::numeric_limits<double>::infinity())
                shorten(carried, parts, r * width);
        }
    }

  private:
    const Steps& s;
    std::vector<int64_t> offsets;
    std::vector<T> zeros;

    int64_t size(int64_t t) const { return s.sizes ? s.sizes[t] : s.B; }
    int64_t length(int64_t r) const {
        if (!s.sizes) return T_;
        int64_t n = 0;
        while (n < T_ && size(n) > first + r) n++;
        return n;
    }
    bool border_cut(int64_t t) const { return s.cut > 0 && std::max(t, before(t)) % s.cut == 0; }
    template <class F> void visit(int64_t t, F&& f) const {
        if (const int64_t n = active(t)) f(t, row(t), n);
    }
    void shorten(T* const* carried, int parts, int64_t at) const {
        double squares = 0;
        for (int p = 0; p < parts; p++)
            for (int64_t j = 0; j < H; j++) squares += double(carried[p][at + j]) * double(carried[p][at + j]);
        const double norm = std::sqrt(squares);
        if (!(norm > s.clip)) return;
        for (int p = 0; p < parts; p++)
            for (int64_t j = 0; j < H; j++) carried[p][at + j] = T(carried[p][at + j] * (s.clip / norm));
    }
};

// The length of a row, given the sum of its squares: where that left the range of T, it is summed again in double.
template <class T> inline T norm(Vector<T> squares, const T* row, int64_t H) {
    constexpr T small = sizeof(T) == 4 ? T(1e-30) : T(1e-290), large = sizeof(T) == 4 ? T(1e30) : T(1e290);
    const T s = sum<T>(squares);
    if (s > small && s < large) return std::sqrt(s);
    T most = 0;
    for (int64_t j = 0; j < H; j++) {
        if (!(std::abs(row[j]) <= most)) most = std::abs(row[j]);
        if (std::isnan(most)) return most;
    }
    if (most == 0 || std::isinf(most)) return most;
    double scaled = 0;
    for (int64_t j = 0; j < H; j++) scaled += double(row[j] / most) * double(row[j] / most);
    return T(most * std::sqrt(scaled));
}

}  // namespace
