// The module of scans, built once for each instruction set. It sees addresses and sizes, never a tensor; longreach.kernels.native
// has checked them. Types erased here: `wide` is double, else float.
#include <nanobind/nanobind.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cornn.hpp"
#include "elman.hpp"
#include "gru.hpp"
#include "lem.hpp"
#include "linear.hpp"
#include "lstm.hpp"
#include "pack.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using Address = uintptr_t;

namespace {

template <class T> T* at(Address a) { return reinterpret_cast<T*>(a); }

// Each thread has a share of the sequences, of about as many steps as the others'.
class Shares {
    std::vector<int64_t> borders{0};

  public:
    Shares(const Steps& s, int64_t threads) {
        const int64_t n = std::max<int64_t>(1, std::min(threads, s.B));
        if (!s.sizes) {
            for (int64_t i = 1; i < n; i++) borders.push_back(s.B * i / n);
        } else {
            int64_t total = 0, so_far = 0, t = s.T;
            for (int64_t i = 0; i < s.T; i++) total += s.sizes[i];
            for (int64_t b = 0; b < s.B && int64_t(borders.size()) < n; b++) {
                while (t > 0 && s.sizes[t - 1] <= b) t--;
                so_far += t;
                if (so_far * n >= total * int64_t(borders.size())) borders.push_back(b + 1);
            }
        }
        if (borders.back() != s.B) borders.push_back(s.B);
    }
    int64_t count() const { return int64_t(borders.size()) - 1; }
    int64_t largest() const {
        int64_t n = 0;
        for (int64_t i = 0; i < count(); i++) n = std::max(n, borders[i + 1] - borders[i]);
        return n;
    }
    template <class F> void run(F&& f) const {
        in_parallel(count(), [&](int64_t i) { f(borders[i], borders[i + 1]); });
    }
};

int64_t second_level_cache() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    static const int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes > 0 ? bytes : 1 << 20;
#else
    return 1 << 20;
#endif
}

template <class T> struct Weights {
    Scratch<T> memory;
    Panels<T> panels;
    // of `gates` a unit, for `rows` sequences a thread
    Weights(int64_t K, int64_t columns, int gates, int64_t rows)
        : memory(K * padded<T>(columns)), panels{memory, K, columns, gates == 1 ? 4 : gates, false} {
        const bool large = K * columns * int64_t(sizeof(T)) > second_level_cache() / 4 * 3, tall = rows <= TALL;
        if (large && (tall || gates != 3)) panels.streamed = true, panels.most = tall ? 1 : 2;  // three gates do not go by twos
    }
};

// Packing a few kilobytes is done before another thread has heard of it.
int64_t packers(int64_t numbers, int64_t threads) { return numbers < 1 << 16 ? 1 : threads; }

// Asks for pages of two megabytes where the memory, fresh from the system, holds any.
void use_large_pages(Address start, int64_t bytes) {
#if defined(MADV_HUGEPAGE)
    constexpr Address PAGE = 2 << 20;
    const Address first = (start + PAGE - 1) / PAGE * PAGE, last = (start + bytes) / PAGE * PAGE;
    if (last > first) madvise(at<void>(first), last - first, MADV_HUGEPAGE);
#endif
}

template <class F> void typed(bool wide, F&& f) { wide ? f(double{}) : f(float{}); }

namespace calls {

void elman_forward(bool wide, const Steps& s, int64_t threads, int activation, double decay, double rate, Address slope, Address weights, Address kept,
                   Address h0, Address h, Address h_n) {
    const Elman e{Activation(activation), decay, rate, at<void>(slope)};
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const Shares shares(s, threads);
        const int64_t rows = shares.largest();
        Weights<T> w(s.H, s.H, 1, rows);
        const int64_t p = packers(s.H * s.H, threads);
        in_parallel(p, [&](int64_t i) { pack_gates(at<T>(weights), 1, s.H, w.panels.K, w.panels, i, p); });
        shares.run([&](int64_t first, int64_t last) {
            ::elman_forward<T>(s, e, w.panels, at<T>(kept), at<T>(h0), at<T>(h), at<T>(h_n), first, last);
        });
    });
}

void elman_backward(bool wide, const Steps& s, int64_t threads, int activation, double decay, double rate, Address slope, Address weights, Address dh,
                    Address dh_n, Address kept, Address da, Address dslope, Address dh0, Address norms) {
    const Elman e{Activation(activation), decay, rate, at<void>(slope)};
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const Shares shares(s, threads);
        const int64_t rows = shares.largest();
        Weights<T> w(s.H, s.H, 1, rows);
        const int64_t p = packers(s.H * s.H, threads);
        in_parallel(p, [&](int64_t i) { pack_rows(at<T>(weights), w.panels, i, p); });
        shares.run([&](int64_t first, int64_t last) {
            ::elman_backward<T>(s, e, w.panels, at<T>(dh), at<T>(dh_n), at<T>(kept), at<T>(da), at<T>(dslope), at<T>(dh0), at<T>(norms), first, last);
        });
    });
}

void gru_forward(bool wide, const Steps& s, int64_t threads, Address weights, Address bias, Address gates, Address h0, Address h, Address m, Address h_n) {
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const Shares shares(s, threads);
        const int64_t rows = shares.largest();
        Weights<T> w(s.H, 3 * padded<T>(s.H), 3, rows);
        const int64_t p = packers(3 * s.H * s.H, threads);
        in_parallel(p, [&](int64_t i) { pack_gates(at<T>(weights), 3, s.H, s.H, w.panels, i, p); });
        shares.run([&](int64_t first, int64_t last) {
            ::gru_forward<T>(s, w.panels, at<T>(bias), at<T>(gates), at<T>(h0), at<T>(h), at<T>(m), at<T>(h_n), first, last);
        });
    });
}

void gru_backward(bool wide, const Steps& s, int64_t threads, Address weights, Address dh, Address dh_n, Address gates, Address m, Address h, Address h0,
                  Address da, Address dm, Address dh0, Address norms) {
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const Shares shares(s, threads);
        const int64_t rows = shares.largest();
        Weights<T> w(3 * s.H, s.H, 1, rows);
        const int64_t p = packers(3 * s.H * s.H, threads);
        in_parallel(p, [&](int64_t i) { pack_rows(at<T>(weights), w.panels, i, p); });
        shares.run([&](int64_t first, int64_t last) {
            ::gru_backward<T>(s, w.panels, at<T>(dh), at<T>(dh_n), at<T>(gates), at<T>(m), at<T>(h), at<T>(h0), at<T>(da), at<T>(dm), at<T>(dh0), at<T>(norms), first,
                            last);
        });
    });
}

void lstm_forward(bool wide, const Steps& s, int64_t threads, Address weights, Address peephole, Address x, int64_t I, Address input_weights, Address bias,
                  Address gates, bool keeps, Address h0, Address c0, Address h, Address c, Address h_n, Address c_n) {
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const Shares shares(s, threads);
        const int64_t rows = shares.largest();
        Weights<T> w(s.H + I, 4 * padded<T>(s.H), 4, rows);
        const int64_t p = packers(4 * s.H * (s.H + I), threads);
        in_parallel(p, [&](int64_t i) {
            pack_gates(at<T>(weights), 4, s.H, s.H, w.panels, i, p);
            if (I) pack_gates(at<T>(input_weights), 4, s.H, I, w.panels, i, p, s.H);
        });
        const Input<T> input{at<T>(x), I, at<T>(bias)};
        shares.run([&](int64_t first, int64_t last) {
            ::lstm_forward<T>(s, w.panels, at<T>(peephole), input, at<T>(gates), keeps, at<T>(h0), at<T>(c0), at<T>(h), at<T>(c), at<T>(h_n), at<T>(c_n), first,
                              last);
        });
    });
}

void lstm_backward(bool wide, const Steps& s, int64_t threads, Address weights, Address peephole, Address dh, Address dh_n, Address dc_n, Address gates,
                   Address c, Address c0, Address da, Address dh0, Address dc0, Address norms) {
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const Shares shares(s, threads);
        const int64_t rows = shares.largest();
        Weights<T> w(4 * s.H, s.H, 1, rows);
        const int64_t p = packers(4 * s.H * s.H, threads);
        in_parallel(p, [&](int64_t i) { pack_rows(at<T>(weights), w.panels, i, p); });
        shares.run([&](int64_t first, int64_t last) {
            ::lstm_backward<T>(s, w.panels, at<T>(peephole), at<T>(dh), at<T>(dh_n), at<T>(dc_n), at<T>(gates), at<T>(c), at<T>(c0), at<T>(da), at<T>(dh0),
                             at<T>(dc0), at<T>(norms), first, last);
        });
    });
}

void cornn_forward(bool wide, const Steps& s, int64_t threads, double dt, double gamma, double epsilon, Address weights, Address force, Address y0,
                   Address z0, Address y, Address z, Address y_n, Address z_n) {
    const Oscillators o{dt, gamma, epsilon};
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const Shares shares(s, threads);
        Weights<T> w(2 * s.H, s.H, 1, shares.largest());
        const int64_t p = packers(2 * s.H * s.H, threads);
        in_parallel(p, [&](int64_t i) { pack_gates(at<T>(weights), 1, s.H, w.panels.K, w.panels, i, p); });
        shares.run([&](int64_t first, int64_t last) {
            ::cornn_forward<T>(s, o, w.panels, at<T>(force), at<T>(y0), at<T>(z0), at<T>(y), at<T>(z), at<T>(y_n), at<T>(z_n), first, last);
        });
    });
}

void cornn_backward(bool wide, const Steps& s, int64_t threads, double dt, double gamma, double epsilon, Address weights, Address dy, Address dy_n,
                    Address dz_n, Address force, Address da, Address dy0, Address dz0, Address norms) {
    const Oscillators o{dt, gamma, epsilon};
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const Shares shares(s, threads);
        Weights<T> w(s.H, 2 * s.H, 1, shares.largest());
        const int64_t p = packers(2 * s.H * s.H, threads);
        in_parallel(p, [&](int64_t i) { pack_rows(at<T>(weights), w.panels, i, p); });
        shares.run([&](int64_t first, int64_t last) {
            ::cornn_backward<T>(s, o, w.panels, at<T>(dy), at<T>(dy_n), at<T>(dz_n), at<T>(force), at<T>(da), at<T>(dy0), at<T>(dz0), at<T>(norms), first, last);
        });
    });
}

void lem_forward(bool wide, const Steps& s, int64_t threads, double dt, Address weight_y, Address weight_z, Address gates, Address y0, Address z0, Address y,
                 Address z, Address y_n, Address z_n) {
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const Shares shares(s, threads);
        const int64_t rows = shares.largest();
        Weights<T> of_y(s.H, 3 * padded<T>(s.H), 3, rows), of_z(s.H, s.H, 1, rows);
        const int64_t p = packers(4 * s.H * s.H, threads);
        in_parallel(p, [&](int64_t i) {
            pack_gates(at<T>(weight_y), 3, s.H, of_y.panels.K, of_y.panels, i, p);
            pack_gates(at<T>(weight_z), 1, s.H, of_z.panels.K, of_z.panels, i, p);
        });
        shares.run([&](int64_t first, int64_t last) {
            ::lem_forward<T>(s, dt, of_y.panels, of_z.panels, at<T>(gates), at<T>(y0), at<T>(z0), at<T>(y), at<T>(z), at<T>(y_n), at<T>(z_n), first, last);
        });
    });
}

void lem_backward(bool wide, const Steps& s, int64_t threads, double dt, Address weight_y, Address weight_z, Address dy, Address dy_n, Address dz_n,
                  Address gates, Address y, Address z, Address y0, Address z0, Address da, Address dy0, Address dz0, Address norms) {
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const Shares shares(s, threads);
        const int64_t rows = shares.largest();
        Weights<T> of_y(3 * s.H, s.H, 1, rows), of_z(s.H, s.H, 1, rows);
        const int64_t p = packers(4 * s.H * s.H, threads);
        in_parallel(p, [&](int64_t i) {
            pack_rows(at<T>(weight_y), of_y.panels, i, p);
            pack_rows(at<T>(weight_z), of_z.panels, i, p);
        });
        shares.run([&](int64_t first, int64_t last) {
            ::lem_backward<T>(s, dt, of_y.panels, of_z.panels, at<T>(dy), at<T>(dy_n), at<T>(dz_n), at<T>(gates), at<T>(y), at<T>(z), at<T>(y0), at<T>(z0),
                            at<T>(da), at<T>(dy0), at<T>(dz0), at<T>(norms), first, last);
        });
    });
}

void linear(bool wide, const Steps& s, int64_t threads, bool complex, Address x, Address a, int64_t stride, Address h0, Address h) {
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        const auto scan = complex ? &::linear_complex<T> : &::linear<T>;
        Shares(s, threads).run([&](int64_t first, int64_t last) { scan(s, at<T>(x), at<T>(a), stride, at<T>(h0), at<T>(h), first, last); });
    });
}

void diagonal(bool wide, const Steps& s, int64_t threads, int activation, Address x, Address u, int64_t stride, Address h0, Address h) {
    typed(wide, [&](auto zero) {
        using T = decltype(zero);
        Shares(s, threads).run([&](int64_t first, int64_t last) {
            ::diagonal<T>(s, Activation(activation), at<T>(x), at<T>(u), stride, at<T>(h0), at<T>(h), first, last);
        });
    });
}

}  // namespace calls
}  // namespace

NB_MODULE(MODULE, m) {
    nb::class_<Steps>(m, "Steps")
        .def("__init__",
             [](Steps* self, int64_t T, int64_t B, int64_t H, Address sizes, Address resets, bool reverse, int64_t cut, double clip) {
                 new (self) Steps{T, B, H, at<int64_t>(sizes), at<uint8_t>(resets), reverse, cut, clip};
             });
    const nb::call_guard<nb::gil_scoped_release> released;
    m.def("elman_forward", &calls::elman_forward, released);
    m.def("elman_backward", &calls::elman_backward, released);
    m.def("gru_forward", &calls::gru_forward, released);
    m.def("gru_backward", &calls::gru_backward, released);
    m.def("lstm_forward", &calls::lstm_forward, released);
    m.def("lstm_backward", &calls::lstm_backward, released);
    m.def("cornn_forward", &calls::cornn_forward, released);
    m.def("cornn_backward", &calls::cornn_backward, released);
    m.def("lem_forward", &calls::lem_forward, released);
    m.def("lem_backward", &calls::lem_backward, released);
    m.def("linear", &calls::linear, released);
    m.def("diagonal", &calls::diagonal, released);
    m.def("use_large_pages", &use_large_pages);
    m.def("use_threads_of", [](Address fork) { fork_of_torch = reinterpret_cast<Fork>(fork); });
}
