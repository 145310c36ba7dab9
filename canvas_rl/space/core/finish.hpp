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

// What is on top of the lowest tensors of a stack, and the tally of the program that put it there.
struct Landing {
    const Shape& shape;
    const Size& numel;
    const Field& field;
    const System& system;
    const Bill* bill;  // null where there is no budget
    size_t left;       // how many tensors lie below
    bool same;         // whether it is the tensor right below
    Tally tally;
};

class Finisher {
   public:
    Finisher(Moves& moves, Routes routes, int actions, int exact)
        : moves_(moves), routes_(std::move(routes)), actions_(actions), exact_(exact), memo_(kMemo) {}

    // Whether some program surely finishes the kernel from here. `plan`, where given, becomes such a program, the output
    // left out; empty where the way home is easy.
    bool can_finish(const State& state, std::vector<int>* plan = nullptr);
    // Whether folding and joining surely finish a kernel in time: from the top down, fold each tensor until it can be
    // broadcast to the one beneath, at last to the input; then the program is again a tensor like the input ("home"),
    // and what is missing follows. `state` is the one before.
    bool easily(const State& state, const Landing& landing);
    bool easily(const State& state);
    bool easily_after_push(const State& state, int tensor);
    // The next action on an easy way home; -1 if there is none.
    int homeward(const State& state);

   private:
    // What finishing takes: for each budget the greatest share of a site's cap.
    struct Cost {
        float of[kCosts] = {};
        void add(const Cost& other) {
            for (int i = 0; i < kCosts; ++i) of[i] += other.of[i];
        }
    };
    struct Entry {
        uint64_t key = 0;
        bool found = false;
        Cost cost;
    };
    // Whether, and how, states are finished that differ in nothing but what they spent, were there no budgets.
    struct Answer {
        uint64_t key = 0;
        bool found = false;
        Cost cost;              // of the plan
        std::vector<int> plan;  // the last action first; tensors are numbered as in the state searched from
    };
    static constexpr size_t kAnswers = 1 << 14;
    // How a program that is home ends.
    struct Home {
        bool found = false;
        Cost cost;
        std::vector<int> plan;
    };
    static constexpr size_t kMemo = 1 << 17;

    bool joins_input(const State& state, int top);
    int joins(const State& state, size_t left, const Assignment& witness);
    int fewest_folds(const Shape& shape, const Shape& target, const Assignment& witness, bool same, int* dims = nullptr);
    // Dims to fold, as a set of slots, and how many primitives that takes.
    struct FoldSet {
        int price, slots;
    };
    static std::vector<FoldSet> make_fold_sets(const Shape& shape);
    const std::vector<FoldSet>& fold_sets(const Shape& shape);
    bool easily(const State& state, const Landing& landing, bool joins_input);
    const Home& home_in_time(const Limits& limits, const Tally& tally, bool reaches, const System& system);
    int still_due(const Limits& limits, const Tally& tally) const;
    bool affordable(const State& state, const Landing& landing, int steps, const Cost& rest);
    State home(const Limits& limits, const Tally& tally, bool reaches) const;

    bool exact(const State& state) const;
    State goal(const State& state) const;
    static void trim(State& light, int others);
    static void hide_variables(State& light);
    Cost between(const State& before, const State& after) const;
    bool fits(const State& state, const Cost& cost) const;
    int needed(const State& state) const;
    uint64_t signature(const State& state, bool pushes) const;
    bool search(const State& state, std::vector<int>* program, Cost& cost);
    bool last(const State& state, std::vector<int>* program, Cost& cost);
    bool ends_with_one(const State& state, std::vector<int>* program, Cost& cost);
    bool guided(const State& state, std::vector<int>* program, Cost& cost);
    bool every(const State& state, std::vector<int>* program, Cost& cost);
    bool every_push(const State& state, std::vector<int>* program, Cost& cost);
    bool sooner(const State& state, std::vector<int>* program, Cost& cost);
    bool follow(const State& state, int action, std::vector<int>* program, Cost& cost, bool& legal);
    bool finishes(const State& state, const State& after, int action, std::vector<int>* program, Cost& cost);

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
    std::vector<Answer> answers_ = std::vector<Answer>(kAnswers);
    std::unordered_map<uint64_t, Home> homes_;
    struct Folds {
        uint64_t key = 0;
        int count = 0, slots = 0;
    };
    static constexpr size_t kFolds = 1 << 14;
    std::vector<Folds> folds_ = std::vector<Folds>(kFolds);
    std::vector<std::vector<FoldSet>> fold_sets_ = std::vector<std::vector<FoldSet>>(1 << 10);  // by pattern
};

}  // namespace canvas
