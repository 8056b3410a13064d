// h_t = decay * h_{t-1} + rate * f(W h_{t-1} + a_t), forwards and backwards.
#pragma once
#include "product.hpp"

enum class Activation : int { tanh, relu, leaky_relu, prelu, elu, selu, sigmoid, identity };

struct Elman {
    Activation activation;
    double decay, rate;
    const void* slope;  // one for each unit (prelu)
    // backwards finds y = f(a) in h itself where h = y; a prelu's slope may have any sign, so that needs a instead
    bool keeps() const { return activation == Activation::prelu || decay != 0 || rate != 1; }
};

namespace {

constexpr double LEAK = 0.01, SELU_SCALE = 1.0507009873554804934193349852946, SELU_ALPHA = 1.6732632423543772848170429916717;

template <class T> inline Vector<T> activate(Activation f, Vector<T> a, Vector<T> slope) {
    switch (f) {
        case Activation::tanh: return hyperbolic_tangent<T>(a);
        case Activation::relu: return a < T(0) ? every(T(0)) : a;
        case Activation::leaky_relu: return a > T(0) ? a : a * T(LEAK);
        case Activation::prelu: return a > T(0) ? a : a * slope;
        case Activation::elu: return a > T(0) ? a : expm1<T>(a);
        case Activation::selu: return a > T(0) ? a * T(SELU_SCALE) : expm1<T>(a) * T(SELU_SCALE * SELU_ALPHA);
        case Activation::sigmoid: return sigmoid<T>(a);
        case Activation::identity: return a;
    }
    return a;
}

// f'(a) from y = f(a); from a itself for the prelu
template <class T> inline Vector<T> slope_of(Activation f, Vector<T> y, Vector<T> slope) {
    const Vector<T> one = every(T(1));
    switch (f) {
        case Activation::tanh: return T(1) - y * y;
        case Activation::relu: return y > T(0) ? one : every(T(0));
        case Activation::leaky_relu: return y > T(0) ? one : every(T(LEAK));
        case Activation::prelu: return y > T(0) ? one : slope;
        case Activation::elu: return y > T(0) ? one : y + T(1);
        case Activation::selu: return y > T(0) ? every(T(SELU_SCALE)) : y + T(SELU_SCALE * SELU_ALPHA);
        case Activation::sigmoid: return y * (T(1) - y);
        case Activation::identity: return one;
    }
    return one;
}

// kept [N, H]: a_t comes in, what backwards needs goes out (nothing where Elman::keeps is false). h0 [B, H]; h [N, H]; h_n [B, H].
template <class T>
void elman_forward(const Steps& s, const Elman& e, const Panels<T>& W, T* kept, const T* h0, T* h, T* h_n, int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    std::vector<const T*> before(walk.count);
    const int64_t H = s.H;
    const bool keeps = e.keeps();
    const T* slopes = static_cast<const T*>(e.slope);
    Room<T> room(W, walk.count);
    walk.forwards([&](int64_t t, int64_t row, int64_t n) {
        walk.states_before(t, h, h0, before.data());
        const auto soon = [&](int64_t r, int64_t j) {
            __builtin_prefetch(kept + (row + r) * H + j, 1);
            __builtin_prefetch(h + (row + r) * H + j, 1);
        };
        product<T, 1, 1>({{before.data(), H}}, W, n, t, room, soon, [&](int64_t r, int64_t j, const Vector<T>* sums) {
            T *kept_row = kept + (row + r) * H + j, *h_row = h + (row + r) * H + j;
            const int64_t mine = H - j;
            const Vector<T> slope = slopes ? load(slopes + j, mine) : Vector<T>{};
            const Vector<T> a = sums[0] + load(kept_row, mine);
            const Vector<T> y = activate<T>(e.activation, a, slope);
            if (!keeps) return store(h_row, y, mine);
            store(kept_row, e.activation == Activation::prelu ? a : y, mine);
            store(h_row, T(e.decay) * load(before[r] + j, mine) + T(e.rate) * y, mine);
        });
    });
    walk.last_states(h, h0, h_n);
}

// kept: of elman_forward, or h. dh [N, H], dh_n [B, H]: null where nothing comes. da, dslope [N, H] (dslope: null but for prelu); norms [N].
template <class T>
void elman_backward(const Steps& s, const Elman& e, const Panels<T>& W, const T* dh, const T* dh_n, const T* kept, T* da, T* dslope, T* dh0, T* norms,
                    int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    const int64_t H = s.H, width = padded<T>(H);
    const T* slopes = static_cast<const T*>(e.slope);
    Scratch<T> carried(walk.count * width), total(width);
    Room<T> room(W, walk.count);
    carried.zero(walk.count * width);
    if (dh_n)
        for (int64_t r = 0; r < walk.count; r++) std::copy_n(dh_n + (first + r) * H, H, carried + r * width);
    std::vector<const T*> rows_of_da(walk.count);
    walk.backwards([&](int64_t t, int64_t row, int64_t n) {
        for (int64_t r = 0; r < n; r++) {
            const int64_t at = (row + r) * H;
            T* carry = carried + r * width;
            Vector<T> squares{};
            for (int64_t j = 0; j < H; j += LANES<T>) {
                const int64_t m = H - j;
                const Vector<T> slope = slopes ? load(slopes + j, m) : Vector<T>{}, y = load(kept + at + j, m);
                const Vector<T> d = dh ? load(carry + j) + load(dh + at + j, m) : load(carry + j);
                store(total + j, d);
                squares += d * d;
                const Vector<T> dy = T(e.rate) * d;
                store(da + at + j, dy * slope_of<T>(e.activation, y, slope), m);
                if (dslope) store(dslope + at + j, y > T(0) ? every(T(0)) : dy * y, m);
                store(carry + j, T(e.decay) * d);
            }
            norms[row + r] = norm<T>(squares, total, H);
            rows_of_da[r] = da + at;
        }
        if (!walk.whole_step_cut(t)) add_product<T, 1>({{rows_of_da.data(), H}}, W, n, t, room, carried, width);
        T* const parts[] = {carried};
        walk.limit(t, parts, 1, width);
    });
    for (int64_t r = 0; r < walk.count; r++) std::copy_n(carried + r * width, H, dh0 + (first + r) * H);
}

}  // namespace
