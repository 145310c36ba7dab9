// Shapes: two groups of dims, each channel-like (G, C, KH, KW) or spatial-like (H, W); a dim is present by slot.
#pragma once

#include <algorithm>

#include "size.hpp"

namespace canvas {

constexpr int kSlots = 4;  // of a group

struct Shape {
    uint8_t spatial[2] = {0, 1};  // whether a group is spatial-like
    uint8_t present[2] = {0, 0};  // a bit for each slot
    Size sizes[2 * kSlots];       // 1 where absent

    bool has(int slot) const { return present[slot / kSlots] >> (slot % kSlots) & 1; }
    bool empty(int group) const { return present[group] == 0; }

    bool has_variables() const {
        return std::any_of(sizes, sizes + 2 * kSlots, [](const Size& size) { return size.has_variables(); });
    }

    // The kinds of the groups and which dims are present, as a number.
    int pattern() const { return spatial[0] << 9 | present[0] << 5 | spatial[1] << 4 | present[1]; }

    Size numel() const {
        Size product = sizes[0];
        for (int slot = 1; slot < 2 * kSlots; ++slot) product *= sizes[slot];
        return product;
    }
    bool operator==(const Shape& other) const {
        return pattern() == other.pattern() && std::memcmp(sizes, other.sizes, sizeof sizes) == 0;
    }
    uint64_t hash() const {
        uint64_t result = static_cast<uint64_t>(pattern()) + 1;
        for (int slot = 0; slot < 2 * kSlots; ++slot)
            if (has(slot)) result = mix(result, &sizes[slot], sizeof(Size));
        return result;
    }
    // The dims present, in the order of the tensor's axes.
    int dims(int* slots) const {
        int count = 0;
        for (int slot = 0; slot < 2 * kSlots; ++slot)
            if (has(slot)) slots[count++] = slot;
        return count;
    }
    // A dim's name as a number: G, C, KH, KW, H, W.
    int name(int slot) const { return slot % kSlots + (spatial[slot / kSlots] ? kSlots : 0); }

    // Fold primitives that remove every dim; (KH, KW) and (H, W) go in pairs.
    int folds() const {
        int count = 0;
        for (int group = 0; group < 2; ++group) {
            const int slots = present[group], pair = spatial[group] ? 3 : 12;
            count += __builtin_popcount(slots) - ((slots & pair) == pair);
        }
        return count;
    }
};

// Lengths of the common prefix and suffix of dims (name and size); the suffix is stripped first.
inline void align(const Shape& left, const Shape& right, int& prefix, int& suffix) {
    int a[2 * kSlots], b[2 * kSlots];
    const int n = left.dims(a), m = right.dims(b);
    int limit = n < m ? n : m;
    auto same = [&](int i, int j) {
        return left.name(a[i]) == right.name(b[j]) && left.sizes[a[i]] == right.sizes[b[j]];
    };
    for (suffix = 0; suffix < limit && same(n - 1 - suffix, m - 1 - suffix);) ++suffix;
    limit -= suffix;
    for (prefix = 0; prefix < limit && same(prefix, prefix);) ++prefix;
}

// Bounding box of the input pixels that an element may depend on, relative to its own place.
struct Field {
    int32_t top = 0, bottom = 0, left = 0, right = 0;

    Field joined(const Field& other) const {
        return {top < other.top ? top : other.top, bottom > other.bottom ? bottom : other.bottom,
                left < other.left ? left : other.left, right > other.right ? right : other.right};
    }
    Field moved(const Field& offset) const {
        return {top + offset.top, bottom + offset.bottom, left + offset.left, right + offset.right};
    }
    double pixels(double height, double width) const {
        const double tall = bottom - top + 1.0, wide = right - left + 1.0;
        return (tall < height ? tall : height) * (wide < width ? wide : width);
    }
};

}  // namespace canvas
