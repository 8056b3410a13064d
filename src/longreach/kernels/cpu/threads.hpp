// Work shared between threads, without a runtime of our own: torch has brought one, and its threads are awake.
#pragma once
#include <atomic>
#include <exception>
#include <thread>
#include <vector>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

// Gradients that vanish become denormal numbers, which slow most processors down ten times and more: inside, they are 0.
class FlushDenormals {
#if defined(__SSE2__)
    unsigned before = _mm_getcsr();
  public:
    FlushDenormals() { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
#elif defined(__aarch64__)
    uint64_t before;
  public:
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before));
        asm volatile("msr fpcr, %0" ::"r"(before | (1ull << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before)); }
#else
  public:
    FlushDenormals() {}
    ~FlushDenormals() {}
#endif
};

// GOMP_parallel of the OpenMP runtime that torch runs on; null: threads are started here
using Fork = void (*)(void (*)(void*), void*, unsigned threads, unsigned flags);
Fork fork_of_torch = nullptr;

// f(0) ... f(n - 1), each once, in up to n threads. However few come, all work is done: they take it from one counter.
template <class F> void in_parallel(int64_t n, F&& f) {
    struct Shared {
        F& f;
        int64_t n;
        std::atomic<int64_t> next{0};
        std::atomic<bool> failed{false};
        std::exception_ptr error{};
        void work() {
            const FlushDenormals flush;
            try {
                for (int64_t i; (i = next.fetch_add(1)) < n;) f(i);
            } catch (...) {
                if (!failed.exchange(true)) error = std::current_exception();
            }
        }
    } shared{f, n};
    if (n > 1 && fork_of_torch) {
        fork_of_torch([](void* p) { static_cast<Shared*>(p)->work(); }, &shared, unsigned(n), 0);
    } else {
        std::vector<std::thread> others;
        for (int64_t i = 1; i < n; i++) others.emplace_back([&] { shared.work(); });
        shared.work();
        for (auto& t : others) t.join();
    }
    if (shared.error) std::rethrow_exception(shared.error);
}

}  // namespace
