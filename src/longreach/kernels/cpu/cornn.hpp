// f = tanh(W [y z]_{t-1} + a_t);  z_t = z_{t-1} + dt (f - gamma y_{t-1} - epsilon z_{t-1});  y_t = y_{t-1} + dt z_t.
#pragma once
#include "product.hpp"

struct Oscillators {
    double dt, gamma, epsilon;
};

namespace {

// W: of [y z], 2H numbers.  force [N, H]: a comes in, f goes out.
template <class T>
void cornn_forward(const Steps& s, const Oscillators& o, const Panels<T>& W, T* force, const T* y0, const T* z0, T* y, T* z, T* y_n, T* z_n, int64_t first,
                   int64_t last) {
    const Walk<T> walk(s, first, last);
    std::vector<const T*> y_before(walk.count), z_before(walk.count);
    const int64_t H = s.H;
    const T dt = T(o.dt), gamma = T(o.gamma), epsilon = T(o.epsilon);
    Room<T> room(W, walk.count);
    walk.forwards([&](int64_t t, int64_t row, int64_t n) {
        walk.states_before(t, y, y0, y_before.data());
        walk.states_before(t, z, z0, z_before.data());
        const auto soon = [&](int64_t r, int64_t j) {
            const int64_t at = (row + r) * H + j;
            __builtin_prefetch(force + at, 1);
            __builtin_prefetch(y + at, 1);
            __builtin_prefetch(z + at, 1);
        };
        product<T, 1, 2>({{y_before.data(), H}, {z_before.data(), H}}, W, n, t, room, soon, [&](int64_t r, int64_t j, const Vector<T>* sums) {
            const int64_t at = (row + r) * H + j, mine = H - j;
            const Vector<T> position = load(y_before[r] + j, mine), velocity = load(z_before[r] + j, mine);
            const Vector<T> f = hyperbolic_tangent<T>(sums[0] + load(force + at, mine));
            const Vector<T> faster = velocity + dt * (f - gamma * position - epsilon * velocity);
            store(force + at, f, mine);
            store(z + at, faster, mine);
            store(y + at, position + dt * faster, mine);
        });
    });
    walk.last_states(y, y0, y_n);
    walk.last_states(z, z0, z_n);
}

// da [N, H];  norms [2, N]: of dL/dy_t, and of dL/dz_t with the path through y_t.
template <class T>
void cornn_backward(const Steps& s, const Oscillators& o, const Panels<T>& W, const T* dy, const T* dy_n, const T* dz_n, const T* force, T* da, T* dy0, T* dz0,
                    T* norms, int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    const int64_t H = s.H, width = padded<T>(2 * H), N = walk.rows();
    const T dt = T(o.dt), gamma = T(o.gamma), epsilon = T(o.epsilon);
    Scratch<T> carried(walk.count * width), total_y(padded<T>(H)), total_z(padded<T>(H));  // of y, and right behind it of z
    Room<T> room(W, walk.count);
    carried.zero(walk.count * width);
    for (int64_t r = 0; r < walk.count; r++) {
        if (dy_n) std::copy_n(dy_n + (first + r) * H, H, carried + r * width);
        if (dz_n) std::copy_n(dz_n + (first + r) * H, H, carried + r * width + H);
    }
    std::vector<const T*> rows_of_da(walk.count);
    walk.backwards([&](int64_t t, int64_t row, int64_t n) {
        for (int64_t r = 0; r < n; r++) {
            const int64_t at = (row + r) * H;
            T *carry_y = carried + r * width, *carry_z = carry_y + H;
            Vector<T> squares_y{}, squares_z{};
            for (int64_t j = 0; j < H; j += LANES<T>) {
                const int64_t mine = H - j;
                const Vector<T> d_y = dy ? load(carry_y + j, mine) + load(dy + at + j, mine) : load(carry_y + j, mine);
                const Vector<T> d_z = load(carry_z + j, mine) + dt * d_y, f = load(force + at + j, mine);
                store(total_y + j, d_y);
                store(total_z + j, d_z);
                squares_y += d_y * d_y;
                squares_z += d_z * d_z;
                store(da + at + j, dt * d_z * (T(1) - f * f), mine);
                store(carry_y + j, d_y - dt * gamma * d_z, mine);
                store(carry_z + j, d_z - dt * epsilon * d_z, mine);
            }
            norms[row + r] = norm<T>(squares_y, total_y, H);
            norms[N + row + r] = norm<T>(squares_z, total_z, H);
            rows_of_da[r] = da + at;
        }
        if (!walk.whole_step_cut(t)) add_product<T, 1>({{rows_of_da.data(), H}}, W, n, t, room, carried, width);
        T* const parts[] = {carried, carried + H};
        walk.limit(t, parts, 2, width);
    });
    for (int64_t r = 0; r < walk.count; r++) {
        std::copy_n(carried + r * width, H, dy0 + (first + r) * H);
        std::copy_n(carried + r * width + H, H, dz0 + (first + r) * H);
    }
}

}  // namespace
