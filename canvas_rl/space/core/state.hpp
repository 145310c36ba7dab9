// The state of a program while it is being built, and what kernels must keep to.
#pragma once

#include <memory>
#include <numeric>
#include <vector>

#include "recipe.hpp"

namespace canvas {

struct Limits {
    int min_primitives = 1, max_primitives = 1, width = 2;
    bool require_bmm = false;
};

constexpr int kCosts = 3;  // FLOPs, parameters, activation elements

// The options of a search space.
struct Options {
    int min_weighted = 0, most_weighted = 0;
    double weighted_ratio = 1;
    double receptive_pixels = 1;
    double largest_activation = 0, largest_weight = 0;        // elements of one sample
    std::vector<double> caps[kCosts];                         // budgets, a site; empty for none
    std::vector<double> width_caps[2];                        // how far free sizes may widen FLOPs and parameters
    std::vector<uint64_t> necessary;                          // sets of families: one of each is needed
    uint64_t bmm = 0;                                         // the set that a forced BMM is chosen from
    bool budgets() const { return !caps[0].empty() || !caps[1].empty() || !caps[2].empty(); }
};

struct Node {
    Shape shape;
    Size numel;
    uint64_t key = 0;  // hash of the shape
    Field field;
    int32_t recipe = -1;  // -1: the input
    int32_t facts = 0;
    int32_t action = -1;
    int16_t under = -1, top = -1;  // operands; unary ones have only a top
    std::vector<Size> fresh;       // the free sizes that it introduced

    void shaped() {
        numel = shape.numel();
        key = shape.hash();
    }
};

using Tensor = std::shared_ptr<const Node>;

// What a program costs.
struct Bill {
    std::vector<Size> open[kCosts];       // terms with free sizes
    std::vector<double> settled[kCosts];  // sums of the others, a site
    std::vector<double> spent[kCosts];    // both, a site, under the witness; kept where there is a budget
};

// What limits count of a program.
struct Tally {
    int primitives = 0;
    int weighted = 0;
    int group_count = 0;  // of its Group primitives; 0 before the first
    uint64_t families = 0;

    Tally with(const Recipe& recipe) const {
        return {primitives + 1, weighted + recipe.weighted, recipe.group_count ? recipe.group_count : group_count,
                families | uint64_t{1} << recipe.family};
    }
};

struct State {
    Limits limits;
    Tally tally;
    std::vector<Tensor> nodes;
    std::vector<int> stack;
    std::vector<int> program;
    std::vector<int> plan;  // actions that surely finish the kernel, the output left out; empty where that is plain to see
    bool pushed = false;  // whether the last action was a push
    std::shared_ptr<const System> system;
    std::shared_ptr<const Bill> bill;  // null where no cost counts
    int fill = -1;                     // the level of the output that ended it, -1 before

    // Of states that are only searched from: these leave out facts, programs and all tensors that play no part.
    bool light = false;
    bool frugal = true;       // whether budgets hold
    bool thorough = true;     // whether the search is to be exact for more than the last primitive
    std::vector<int> places;  // the tensors' numbers in the program
    int made = 0;             // tensors that the program has made

    bool done() const { return fill >= 0; }
    int remaining() const { return limits.max_primitives - tally.primitives; }
    const Node& node(int tensor) const { return *nodes[static_cast<size_t>(tensor)]; }
    const Node& top() const { return node(stack.back()); }
    const Node& under() const { return node(stack[stack.size() - 2]); }
    // The same state to be searched from; `costs`: whether there are budgets.
    State lighter(bool costs) const;
};

inline State State::lighter(bool costs) const {
    State made = *this;
    made.program.clear();
    made.plan.clear();
    if (!costs) made.bill = nullptr;
    if (light) return made;
    made.light = true;
    made.made = static_cast<int>(nodes.size());
    made.places.resize(nodes.size());
    std::iota(made.places.begin(), made.places.end(), 0);
    return made;
}

}  // namespace canvas
