// Whether a kernel can still be finished: no action may lead to a dead end.
#pragma once

#include "moves.hpp"

namespace canvas {

// Actions that the search prefers, by what they do; lists of indices, best first.
struct Routes {
    std::vector<int> into_top, into_under;  // joins that broadcast the lower tensor to the top, and the other way
    std::vector<int> bmm;
    std::vector<int> keep_shape;            // unary primitives that keep the shape
    std::vector<int> change_shape;          // other unary primitives without weights
    std::vector<int> weighted;              // with weights, most useful first
    std::vector<int> to_channels;           // FC to C
    std::vector<int> wider[3];              // widen the receptive field along H and W, along H, along W
    std::vector<std::vector<int>> folds;    // of one dim, by 6 * group + name
    std::vector<std::vector<int>> fold_pairs;  // of (KH, KW) and (H, W), by 2 * group + spatial
    std::vector<std::vector<int>> family;   // all actions of a family
    uint64_t joins = 0, unary = 0, folding = 0;  // sets of families
};

class Finisher {
   public:
    Finisher(Moves& moves, Routes routes, int actions, int exact)
        : moves_(moves), routes_(std::move(routes)), actions_(actions), exact_(exact), memo_(kMemo) {}

    // Whether some program surely finishes the kernel from here.
    bool can_finish(const State& state);
    // Whether some program surely finishes the kernel after a primitive, where that is easily seen: its result is to be
    // on top of the `left` lowest tensors of the stack.
    bool easily_after(const State& state, const Recipe& recipe, const Effect& effect, const System& system, size_t left);
    // Such a program, the output left out; false if none is found.
    bool plan(const State& state, std::vector<int>& program);    bool easily_after_push(const State& state, int tensor);

   private:
    struct Entry {
        uint64_t key = 0;
        bool found = false;
    };
    static constexpr size_t kMemo = 1 << 16;

    bool far_from_limits(const State& state);
    bool joins_input(const State& state, int tensor);
    int joins(const State& state, size_t left, const Assignment& witness);
    int fewest_folds(const Shape& shape, const Shape& target, const Assignment& witness, bool same, int* dims = nullptr);
    const std::vector<int>& fold_sets(const Shape& shape);
    bool home_in_time(const Limits& limits, int reached, int weighted, uint64_t families, bool reaches);
    bool affordable(const State& state) const;
    bool affords(const std::vector<double>* spent, int steps, const Shape& shape, const Assignment& witness) const;
    bool affordable_after(const State& state, const Recipe& recipe, const Effect& effect, const System& system,
                          size_t left) const;
    State home(const Limits& limits, int reached, int weighted, uint64_t families, bool reaches) const;

    int needed(const State& state) const;
    bool search(const State& state, std::vector<int>* program);
    bool last(const State& state, std::vector<int>* program);
    bool could_end(const State& state, const Recipe& recipe, int arity);
    bool guided(const State& state, std::vector<int>* program);
    bool every(const State& state, std::vector<int>* program);
    bool follow(const State& state, int action, std::vector<int>* program, bool& legal);
    bool finishes(const State& after, int action, std::vector<int>* program);
    uint64_t signature(const State& state) const;
    static State compact(const State& state, bool keep_all);

    void candidates(const State& state, std::vector<int>& out);
    void toward_required(const State& state, uint64_t wanted, std::vector<int>& out);
    void join(const State& state, std::vector<int>& out);
    void fold_toward(const State& state, const Shape& target, std::vector<int>& out, bool& there);
    void fold_to_size(const State& state, std::vector<int>& out);
    void wider_field(const State& state, std::vector<int>& out);
    void fold_first(const Shape& shape, int dims, std::vector<int>& out);

    Moves& moves_;
    const Routes routes_;
    const int actions_, exact_;
    std::vector<Entry> memo_;
    Effect effect_;  // scratch
    System system_;
    std::unordered_map<uint64_t, bool> homes_;
    std::vector<std::vector<int>> fold_sets_ = std::vector<std::vector<int>>(1 << 10);  // by pattern
};

}  // namespace canvas
