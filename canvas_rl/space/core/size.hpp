// Symbolic sizes: monomials q * C^a H^b W^c * x0^e0 ..., as vectors of exponents.
//
// The rational q is kept as exponents of primes, so that products, quotients and powers are sums of vectors and a size
// is an integer at a site exactly where no prime's exponent is negative.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace canvas {

constexpr int kVariables = 8;   // most free variables at once
constexpr int kChannels = 8;    // where C is in the vector; H and W follow
constexpr int kHeight = 9;
constexpr int kWidth = 10;
constexpr int kFirstPrime = 11;
constexpr int kEntries = 32;
constexpr int kPrimes = kEntries - kFirstPrime;
constexpr int kLargestExponent = 1000;  // of a dim: products of all that a kernel multiplies stay far from 2^15

using Variables = uint32_t;  // a set of free variables, one bit each

struct alignas(16) Size {
    std::array<int16_t, kEntries> e{};

    bool operator==(const Size& other) const { return std::memcmp(e.data(), other.e.data(), sizeof e) == 0; }
    bool operator!=(const Size& other) const { return !(*this == other); }
    bool operator<(const Size& other) const { return e < other.e; }

    Size& operator*=(const Size& other) {
        for (int i = 0; i < kEntries; ++i) e[i] = static_cast<int16_t>(e[i] + other.e[i]);
        return *this;
    }
    Size& operator/=(const Size& other) {
        for (int i = 0; i < kEntries; ++i) e[i] = static_cast<int16_t>(e[i] - other.e[i]);
        return *this;
    }
    // Multiplies with other ** power.
    void multiply(const Size& other, int power) {
        for (int i = 0; i < kEntries; ++i) e[i] = static_cast<int16_t>(e[i] + power * other.e[i]);
    }
    friend Size operator*(Size left, const Size& right) { return left *= right; }
    friend Size operator/(Size left, const Size& right) { return left /= right; }

    bool has_variables() const {
        uint64_t words[2];
        std::memcpy(words, e.data(), sizeof words);
        return (words[0] | words[1]) != 0;
    }
    Variables variables() const {
        Variables set = 0;
        if (!has_variables()) return set;
        for (int v = 0; v < kVariables; ++v) set |= static_cast<Variables>(e[v] != 0) << v;
        return set;
    }
    bool has_spatial() const { return e[kHeight] != 0 || e[kWidth] != 0; }
    bool divides_space() const { return e[kHeight] < 0 || e[kWidth] < 0; }
    bool too_large() const {
        for (int16_t exponent : e)
            if (exponent > kLargestExponent || exponent < -kLargestExponent) return true;
        return false;
    }
};

inline Size unit(int entry) {
    Size size;
    size.e[entry] = 1;
    return size;
}

inline uint64_t mix(uint64_t hash, const void* data, size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(data);
    while (bytes >= 8) {
        uint64_t word;
        std::memcpy(&word, at, 8);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15ull;
        hash ^= hash >> 29;
        at += 8;
        bytes -= 8;
    }
    uint64_t tail = bytes;
    for (size_t i = 0; i < bytes; ++i) tail = (tail << 8) | at[i];
    hash = (hash ^ tail) * 0xBF58476D1CE4E5B9ull;
    return hash ^ (hash >> 32);
}

struct SizeHash {
    size_t operator()(const Size& size) const { return mix(7, size.e.data(), sizeof size.e); }
};

}  // namespace canvas
