// Which actions are legal in a state: those that apply and after which the kernel can certainly be finished.
#pragma once

#include <deque>

#include "finish.hpp"

namespace canvas {

// A small generator (splitmix64), so that programs drawn are the same everywhere.
class Random {
   public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return z ^ (z >> 31);
    }
    // From 0 to bound - 1; the bias of the multiplication is below 2^-50 here.
    size_t below(size_t bound) { return static_cast<size_t>((static_cast<unsigned __int128>(next()) * bound) >> 64); }

   private:
    uint64_t state_;
};

// The action set: templates first, then pushes, then one output for each fill level.
struct ActionSet {
    std::vector<int> family;                // of each action
    std::vector<std::vector<int>> members;  // actions of each family
    std::vector<double> levels;
    int templates = 0, pushes = 0;

    int size() const { return templates + pushes + static_cast<int>(levels.size()); }
    bool is_push(int action) const { return action >= templates && action < templates + pushes; }
    bool is_output(int action) const { return action >= templates + pushes; }
};

// The legal actions of one state, found when asked; actions with the same effect share one check.
class Legality {
   public:
    Legality(const ActionSet& actions, Moves& moves, Finisher& finisher, const State& state);

    void mask(uint8_t* out);
    Refusal refusal(int action);
    // A legal action: a family drawn evenly among those with a legal action, then one of its actions evenly; -1 at a
    // dead end.
    int draw(Random& random);
    // The state after a legal action, with a plan to finish it; an output leaves the free sizes to be chosen.
    State after(int action);

   private:
    // The templates for as many operands, of one view.
    struct Part {
        Part(RuleBook& book, Table* table, int arity, const State& state)
            : table(table), arity(arity), operands(Moves::operands(state, arity)),
              inputs{Moves::inputs(state, arity, false, table->view), Moves::inputs(state, arity, true, table->view)},
              verdicts(book.verdicts(*table, operands)), kinds(table->first.size(), -1), patterns(table->first.size(), -1) {}
        Table* table;
        int arity;
        Operands operands;
        Inputs inputs[2];  // in the order of the stack, and swapped
        Verdicts verdicts;
        std::vector<int8_t> kinds;    // the refusal of each kind, -1: not asked yet
        std::vector<int> patterns;    // of the result of each kind after which only the output can follow, else -1
    };

    Refusal template_refusal(int action, bool sensible);
    Refusal push_refusal(int tensor);
    Refusal output_refusal(int level, bool sensible);
    uint64_t push_key(int tensor) const;
    Refusal verdict(int action);
    bool repeated(const Recipe& recipe, int arity) const;
    bool ends_pointlessly(const Part& part, const Recipe& recipe);
    Part* part(int action);
    Refusal kind_refusal(Part& part, const Recipe& recipe);
    Refusal refusal_in(Part& part, const Recipe& recipe, bool sensible);
    bool planned(int action);
    bool any_sensible();
    int way_out();
    const State& light();

    const ActionSet& actions_;
    Moves& moves_;
    Finisher& finisher_;
    const State& state_;
    std::deque<Part> parts_;
    Effect effect_;  // scratch
    System system_;
    std::optional<State> light_;  // the state without what only matters once an action is taken
    std::vector<std::pair<uint64_t, Refusal>> pushes_;
    int way_out_ = -2;  // the one action that is legal although it makes no sense; -1: none, -2: not asked yet
    int any_sensible_ = -1;  // whether an action is legal that makes sense; -1: not asked yet
};

}  // namespace canvas
