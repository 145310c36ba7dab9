// Decision trees: what rules say of their operands, by what of them they read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace canvas {

// What a rule says (from 0 on), and what it read for that, in order: places in a row of values.
using Answer = std::pair<int, std::vector<uint8_t>>;

// A tree for each rule. A rule is deterministic: the values read so far settle what it reads next, or what it says.
class Trees {
   public:
    static constexpr int32_t kUnknown = -1;

    // What a rule says where this is the row of values, `kUnknown` if it was not asked for such yet.
    int walk(size_t rule, const uint16_t* values) const {
        int32_t at = rule < roots_.size() ? roots_[rule] : kUnknown;
        while (at < kUnknown) {
            const int32_t* node = &nodes_[inner(at)];
            const uint16_t value = values[read(*node)];
            at = value < size(*node) ? node[1 + value] : kUnknown;
        }
        return at;
    }

    // Keeps what a rule said.
    void insert(size_t rule, const uint16_t* values, const Answer& answer) {
        if (nodes_.size() >= kMostKept) *this = Trees();
        if (rule >= roots_.size()) roots_.resize(rule + 1, kUnknown);
        int32_t* at = &roots_[rule];
        for (const uint8_t place : answer.second) {
            require(*at <= kUnknown && (*at == kUnknown || read(nodes_[inner(*at)]) == place));
            at = child(at, place, values[place]);
        }
        require(*at == kUnknown || *at == answer.first);
        *at = answer.first;
    }

   private:
    static constexpr size_t kMostKept = 1 << 22;

    static size_t inner(int32_t node) { return static_cast<size_t>(kUnknown - 1 - node); }
    static uint8_t read(int32_t head) { return static_cast<uint8_t>(head & 255); }
    static int32_t size(int32_t head) { return head >> 8; }
    static void require(bool agrees) {
        if (!agrees) throw std::logic_error("a primitive's rule is not deterministic: it said something else before");
    }
    // The child of a node for a value of what it reads; makes the node if it is unknown, and moves it if it is too small.
    int32_t* child(int32_t* node, uint8_t place, uint16_t value) {
        const bool made = *node != kUnknown;
        const int32_t old = made ? size(nodes_[inner(*node)]) : 0;
        if (value < old) return &nodes_[inner(*node) + 1 + value];
        int32_t size = std::max(old, 2);
        while (size <= value) size *= 2;
        std::vector<int32_t> children(static_cast<size_t>(size), kUnknown);
        if (made) std::copy_n(&nodes_[inner(*node) + 1], old, children.begin());
        const size_t start = nodes_.size();
        *node = kUnknown - 1 - static_cast<int32_t>(start);
        nodes_.push_back(size << 8 | place);
        nodes_.insert(nodes_.end(), children.begin(), children.end());
        return &nodes_[start + 1 + value];
    }

    std::vector<int32_t> roots_;  // of each rule
    // Inner nodes: what it reads and how many children it has (in one number), then the children by value: from 0 on
    // what the rule says, below `kUnknown` an inner node.
    std::vector<int32_t> nodes_;
};

}  // namespace canvas
