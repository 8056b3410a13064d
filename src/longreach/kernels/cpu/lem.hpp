// g, g' = sigmoid, sigmoid and u = tanh of W_y y_{t-1} + a_t;  z_t = z_{t-1} + dt g (u - z_{t-1});
// v = tanh(W_z z_t + a'_t);  y_t = y_{t-1} + dt g' (v - y_{t-1}).
#pragma once
#include "product.hpp"

namespace {

// Wy: panels of one vector of units, the three that see y side by side.  gates [N, 4H]: a comes in, g, g', u, v go out.
template <class T>
void lem_forward(const Steps& s, double step, const Panels<T>& Wy, const Panels<T>& Wz, T* gates, const T* y0, const T* z0, T* y, T* z, T* y_n, T* z_n,
                 int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    std::vector<const T*> y_before(walk.count), z_before(walk.count), z_now(walk.count);
    const int64_t H = s.H;
    const T dt = T(step);
    Room<T> room_y(Wy, walk.count), room_z(Wz, walk.count);
    walk.forwards([&](int64_t t, int64_t row, int64_t n) {
        walk.states_before(t, y, y0, y_before.data());
        walk.states_before(t, z, z0, z_before.data());
        for (int64_t r = 0; r < n; r++) z_now[r] = z + (row + r) * H;
        const auto soon_z = [&](int64_t r, int64_t j) {
            for (int g = 0; g < 3; g++) __builtin_prefetch(gates + ((row + r) * 4 + g) * H + j, 1);
            __builtin_prefetch(z + (row + r) * H + j, 1);
        };
        product<T, 3, 1>({{y_before.data(), H}}, Wy, n, t, room_y, soon_z, [&](int64_t r, int64_t j, const Vector<T>* sums) {
            T* gate = gates + (row + r) * 4 * H + j;
            const int64_t mine = H - j;
            const Vector<T> earlier = load(z_before[r] + j, mine);
            const Vector<T> of_z = sigmoid<T>(sums[0] + load(gate, mine));
            const Vector<T> of_y = sigmoid<T>(sums[1] + load(gate + H, mine));
            const Vector<T> u = hyperbolic_tangent<T>(sums[2] + load(gate + 2 * H, mine));
            store(gate, of_z, mine);
            store(gate + H, of_y, mine);
            store(gate + 2 * H, u, mine);
            store(z + (row + r) * H + j, earlier + dt * of_z * (u - earlier), mine);
        });
        const auto soon_y = [&](int64_t r, int64_t j) {
            __builtin_prefetch(gates + ((row + r) * 4 + 3) * H + j, 1);
            __builtin_prefetch(y + (row + r) * H + j, 1);
        };
        product<T, 1, 1>({{z_now.data(), H}}, Wz, n, t, room_z, soon_y, [&](int64_t r, int64_t j, const Vector<T>* sums) {
            T* gate = gates + (row + r) * 4 * H + j;
            const int64_t mine = H - j;
            const Vector<T> earlier = load(y_before[r] + j, mine);
            const Vector<T> v = hyperbolic_tangent<T>(sums[0] + load(gate + 3 * H, mine));
            store(gate + 3 * H, v, mine);
            store(y + (row + r) * H + j, earlier + dt * load(gate + H, mine) * (v - earlier), mine);
        });
    });
    walk.last_states(y, y0, y_n);
    walk.last_states(z, z0, z_n);
}

// da [N, 4H];  norms [2, N]: of dL/dy_t, and of dL/dz_t with the path through y_t.
template <class T>
void lem_backward(const Steps& s, double step, const Panels<T>& Wy, const Panels<T>& Wz, const T* dy, const T* dy_n, const T* dz_n, const T* gates, const T* y,
                  const T* z, const T* y0, const T* z0, T* da, T* dy0, T* dz0, T* norms, int64_t first, int64_t last) {
    const Walk<T> walk(s, first, last);
    const int64_t H = s.H, width = padded<T>(H), N = walk.rows();
    const T dt = T(step);
    Scratch<T> carried_y(walk.count * width), carried_z(walk.count * width), total(width);
    Room<T> room_y(Wy, walk.count), room_z(Wz, walk.count);
    carried_y.zero(walk.count * width);
    carried_z.zero(walk.count * width);
    for (int64_t r = 0; r < walk.count; r++) {
        if (dy_n) std::copy_n(dy_n + (first + r) * H, H, carried_y + r * width);
        if (dz_n) std::copy_n(dz_n + (first + r) * H, H, carried_z + r * width);
    }
    std::vector<const T*> y_before(walk.count), z_before(walk.count), by_y(walk.count), by_z(walk.count);
    walk.backwards([&](int64_t t, int64_t row, int64_t n) {
        for (int64_t r = 0; r < n; r++) {
            const T *gate = gates + (row + r) * 4 * H, *error = dy ? dy + (row + r) * H : nullptr;
            T *d_a = da + (row + r) * 4 * H, *carry = carried_y + r * width;
            Vector<T> squares{};
            for (int64_t j = 0; j < H; j += LANES<T>) {
                const int64_t mine = H - j;
                const Vector<T> d = error ? load(carry + j) + load(error + j, mine) : load(carry + j);
                const Vector<T> v = load(gate + 3 * H + j, mine);
                squares += d * d;
                store(d_a + 3 * H + j, d * dt * load(gate + H + j, mine) * (T(1) - v * v), mine);
                store(carry + j, d);
            }
            norms[row + r] = norm<T>(squares, carry, H);
            by_y[r] = d_a;
            by_z[r] = d_a + 3 * H;
        }
        add_product<T, 1>({{by_z.data(), H}}, Wz, n, t, room_z, carried_z, width);  // within the step: never cut
        walk.states_before(t, y, y0, y_before.data());
        walk.states_before(t, z, z0, z_before.data());
        for (int64_t r = 0; r < n; r++) {
            const T* gate = gates + (row + r) * 4 * H;
            T *d_a = da + (row + r) * 4 * H, *carry_y = carried_y + r * width, *carry_z = carried_z + r * width;
            Vector<T> squares{};
            for (int64_t j = 0; j < H; j += LANES<T>) {
                const int64_t mine = H - j;
                const Vector<T> d_y = load(carry_y + j), d_z = load(carry_z + j);
                const Vector<T> of_z = load(gate + j, mine), of_y = load(gate + H + j, mine), u = load(gate + 2 * H + j, mine), v = load(gate + 3 * H + j, mine);
                store(total + j, d_z);
                squares += d_z * d_z;
                store(d_a + j, d_z * dt * (u - load(z_before[r] + j, mine)) * of_z * (T(1) - of_z), mine);
                store(d_a + H + j, d_y * dt * (v - load(y_before[r] + j, mine)) * of_y * (T(1) - of_y), mine);
                store(d_a + 2 * H + j, d_z * dt * of_z * (T(1) - u * u), mine);
                store(carry_y + j, d_y - dt * of_y * d_y);
                store(carry_z + j, d_z - dt * of_z * d_z);
            }
            norms[N + row + r] = norm<T>(squares, total, H);
        }
        if (!walk.whole_step_cut(t)) add_product<T, 1>({{by_y.data(), 3 * H}}, Wy, n, t, room_y, carried_y, width);
        T* const parts[] = {carried_y, carried_z};
        walk.limit(t, parts, 2, width);
    });
    for (int64_t r = 0; r < walk.count; r++) {
        std::copy_n(carried_y + r * width, H, dy0 + (first + r) * H);
        std::copy_n(carried_z + r * width, H, dz0 + (first + r) * H);
    }
}

}  // namespace
