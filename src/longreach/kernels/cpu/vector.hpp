// A vector of the widest registers that this file is compiled for, and the functions of one variable that recurrent
// networks use. GCC's and Clang's vector extensions, so that the same text is AVX-512, AVX2, SSE2 or NEON.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int REGISTER_BYTES = 64;
#elif defined(__AVX2__)
constexpr int REGISTER_BYTES = 32;
#else
constexpr int REGISTER_BYTES = 16;
#endif

template <class T> struct Register;
template <> struct Register<float> {
    typedef float aligned __attribute__((vector_size(REGISTER_BYTES)));
    typedef float anywhere __attribute__((vector_size(REGISTER_BYTES), aligned(4), may_alias));
    typedef int32_t integer __attribute__((vector_size(REGISTER_BYTES)));
};
template <> struct Register<double> {
    typedef double aligned __attribute__((vector_size(REGISTER_BYTES)));
    typedef double anywhere __attribute__((vector_size(REGISTER_BYTES), aligned(8), may_alias));
    typedef int64_t integer __attribute__((vector_size(REGISTER_BYTES)));
};
template <class T> using Vector = typename Register<T>::aligned;
template <class T> constexpr int64_t LANES = REGISTER_BYTES / sizeof(T);

template <class T> inline Vector<T> every(T x) { return x - Vector<T>{}; }  // -0 stays -0
template <class T> inline Vector<T> load(const T* p) { return *reinterpret_cast<const typename Register<T>::anywhere*>(p); }
template <class T> inline void store(T* p, Vector<T> v) { *reinterpret_cast<typename Register<T>::anywhere*>(p) = v; }

// The last vector of a row reaches beyond it: n of its lanes are ours, the others read as 0 and are not written.
#if defined(__AVX512F__)
inline Vector<float> load(const float* p, int64_t n) {
    return n >= 16 ? load(p) : (Vector<float>)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
inline Vector<double> load(const double* p, int64_t n) {
    return n >= 8 ? load(p) : (Vector<double>)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
}
inline void store(float* p, Vector<float> v, int64_t n) {
    if (n >= 16) store(p, v);
    else _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
inline void store(double* p, Vector<double> v, int64_t n) {
    if (n >= 8) store(p, v);
    else _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
}
#else
template <class T> inline Vector<T> load(const T* p, int64_t n) {
    if (n >= LANES<T>) return load(p);
    Vector<T> v{};
    for (int64_t i = 0; i < n; i++) v[i] = p[i];
    return v;
}
template <class T> inline void store(T* p, Vector<T> v, int64_t n) {
    if (n >= LANES<T>) return store(p, v);
    for (int64_t i = 0; i < n; i++) p[i] = v[i];
}
#endif

template <class T> inline T sum(Vector<T> v) {
    T s = 0;
    for (int64_t i = 0; i < LANES<T>; i++) s += v[i];
    return s;
}

// a / b for b finite and not 0. Division blocks a port for 16 cycles at 64 bytes; an estimate and a correction do not.
template <class T> inline Vector<T> quotient(Vector<T> a, Vector<T> b) { return a / b; }
#if defined(__AVX512F__)
template <> inline Vector<float> quotient<float>(Vector<float> a, Vector<float> b) {
    const Vector<float> r = (Vector<float>)_mm512_rcp14_ps((__m512)b), q = a * r;
    return q + r * (a - b * q);
}
#endif

// between low and high; a NaN stays one
template <class T> inline Vector<T> clamped(Vector<T> x, T low, T high) {
    x = x < low ? every(low) : x;
    return x > high ? every(high) : x;
}
#if defined(__AVX512F__)
template <> inline Vector<float> clamped<float>(Vector<float> x, float low, float high) {
    return (Vector<float>)_mm512_min_ps(_mm512_set1_ps(high), _mm512_max_ps(_mm512_set1_ps(low), (__m512)x));
}
#endif

// e^r - 1 for |r| <= ln 2 / 2, to a rounding: (Moshier's Cephes) for float, Taylor's series for double.
inline Vector<float> expm1_near_zero(Vector<float> r) {
    Vector<float> p = every(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * r * r + r;
}
inline Vector<double> expm1_near_zero(Vector<double> r) {
    Vector<double> p = every(1.0 / 6227020800.0);
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    return p * r * r + r;
}

template <class T> struct Exponent;
template <> struct Exponent<float> {
    static constexpr float low = -87.3f, high = 88.3f;               // within the range of normal numbers
    static constexpr float ln2_head = 0.693359375f, ln2_tail = -2.12194440e-4f;
    static constexpr float to_integer = 12582912.0f;                 // 1.5 * 2^23: adding it rounds to an integer
    static constexpr int bias = 127, mantissa = 23;
};
template <> struct Exponent<double> {
    static constexpr double low = -708.0, high = 709.0;
    static constexpr double ln2_head = 6.93145751953125e-1, ln2_tail = 1.42860682030941723212e-6;
    static constexpr double to_integer = 6755399441055744.0;
    static constexpr int bias = 1023, mantissa = 52;
};

// x = n ln 2 + r;  hands back e^r - 1 and 2^n, for x within Exponent::low and high.  A NaN comes through in the first.
template <class T> inline Vector<T> split_exponential(Vector<T> x, Vector<T>& power) {
    using E = Exponent<T>;
    const Vector<T> shifted = x * T(1.4426950408889634) + E::to_integer, n = shifted - E::to_integer;
    power = (Vector<T>)(((typename Register<T>::integer)shifted + E::bias) << E::mantissa);  // the rest of `shifted` is shifted out
    return expm1_near_zero((x - n * E::ln2_head) - n * E::ln2_tail);
}
template <class T> inline Vector<T> exponential(Vector<T> x) {
    Vector<T> power, p = split_exponential<T>(clamped<T>(x, Exponent<T>::low, Exponent<T>::high), power);
    return p * power + power;
}
template <class T> inline Vector<T> expm1(Vector<T> x) {
    Vector<T> power, p = split_exponential<T>(clamped<T>(x, Exponent<T>::low, Exponent<T>::high), power);
    return p * power + (power - T(1));
}
template <class T> inline Vector<T> sigmoid(Vector<T> x) { return quotient<T>(every(T(1)), T(1) + exponential<T>(-x)); }

// tanh |x| = e / (e + 2) with e = expm1(2 |x|): exact near 0, and 1 from the clamp on
template <class T> inline Vector<T> hyperbolic_tangent(Vector<T> x) {
    using Bits = typename Register<T>::integer;
    constexpr T saturated = sizeof(T) == 4 ? T(18.2) : T(40);
    const Bits sign = (Bits)x & (Bits)every(T(-0.0));
    const Vector<T> twice = (Vector<T>)((Bits)(x + x) ^ sign);
    Vector<T> power, p = split_exponential<T>(clamped<T>(twice, T(0), saturated), power);
    const Vector<T> e = p * power + (power - T(1));
    return (Vector<T>)((Bits)quotient<T>(e, e + T(2)) ^ sign);
}

}  // namespace
