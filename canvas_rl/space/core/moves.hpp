// What every action does to a state: the one rule behind the mask, the transition and the search for a finish.
#pragma once

#include <optional>

#include "state.hpp"

namespace canvas {

enum class Refusal {
    none,
    finished,          // the kernel is finished
    few_tensors,       // too few tensors on the stack
    most_primitives,
    most_weighted,
    weighted_ratio,
    shape,             // the primitive's rule refuses the operands
    equation,          // sizes can't be made equal
    group_count,
    constraint,        // no values of the free sizes would do
    variables,         // too many free sizes
    exponent,          // sizes out of all bounds
    activation,        // a tensor or a weight is too large
    spatial_weight,    // a weight would have an image size
    flops_budget,
    params_budget,
    memory_budget,
    no_tensor,         // nothing to push
    width,
    just_pushed,
    number,            // a number can't join itself
    tensors_left,
    few_primitives,
    few_weighted,
    necessary,
    receptive,
    output_size,
    one_level,         // no free size: all fill levels are the same
    pointless,
    pointless_end,     // only an output could follow that is pointless
    repeated,          // the same tensor exists
    unfinishable,
};

// The operands' recipe evaluated: what a primitive would add.
struct Effect {
    const Recipe* recipe = nullptr;
    bool priced = false;  // whether FLOPs are wanted
    Shape shape;
    Size numel;
    std::vector<Constraint> constraints;
    std::vector<Volume> volumes;
    std::vector<Size> flops, weights;

    // Whether it leaves what is known of the free sizes as it is.
    bool plain() const { return constraints.empty() && volumes.empty() && recipe->fresh == 0; }
    void clear() {
        constraints.clear();
        volumes.clear();
        flops.clear();
        weights.clear();
    }
};

// What a recipe's monomials are made of: the operands' dims and, for views of wholes, their products.
struct Inputs {
    const Size* at[kAllInputs] = {};
    const Shape* shapes[2];
    Size products[kAllInputs - kGroupInputs];

    // under is null for one operand; known: how many free sizes there are.
    Inputs(const Shape* under, const Shape& top, bool swapped, View view, int known);
    Inputs(const Inputs&) = delete;
};

class Moves {
   public:
    // arity and view: of each template.
    Moves(Sites& sites, RuleBook& book, Options options, Shape input, std::vector<int> arity, std::vector<View> view)
        : sites(sites), book(book), options(std::move(options)), input(input), input_numel(input.numel()),
          arity(std::move(arity)), view(std::move(view)), first_push(static_cast<int>(this->arity.size())), witnesses_(sites) {
        for (size_t action = 0; action < this->arity.size(); ++action)
            if (this->arity[action] == 2) uses_[static_cast<size_t>(this->view[action])] = true;
    }

    State start(const Limits& limits) const;

    // The state after a primitive, or why there is none. Whether it makes sense is not asked here.
    Refusal apply(const State& state, const Recipe& recipe, int arity, std::optional<State>& after);
    // What a primitive that needs no equation solved would add, and the system afterwards (left alone if the effect is
    // plain); budgets are not looked at.
    Refusal preview(const State& state, const Recipe& recipe, const Inputs& inputs, Effect& effect, System& system);
    // The bill after a primitive; `moved`: it changed the witness of older free sizes, or may have.
    std::shared_ptr<const Bill> billed(const State& state, const Effect& effect, const System& system, bool moved) const;
    // Whether a recipe's equation, if it has one, holds already.
    static bool balanced(const Recipe& recipe, const Inputs& inputs) {
        return !recipe.has_equation || recipe.left.at(inputs.at) == recipe.right.at(inputs.at);
    }
    // What recipes of a view are made of, their new free sizes included.
    static Inputs inputs(const State& state, int arity, bool swapped, View view) {
        return {arity == 1 ? nullptr : &state.under().shape, state.top().shape, swapped, view, state.system->variables};
    }
    // The tables for the tensors on top of the stack: one operand first, then two, one table a view.
    std::vector<Table*> tables(const State& state, int arity);
    // A template's recipe for the tensors on top of the stack, null if its rule refuses them.
    const Recipe* recipe(const State& state, int action);
    static Operands operands(const State& state, int arity);
    Refusal refused_push(const State& state, int tensor) const;
    State after_push(const State& state, int tensor) const;
    // Why no primitive of this kind can be added, whatever its operands.
    Refusal full(const State& state, int arity, bool weighted) const;
    // What the kernel as a whole lacks, but for the output's size.
    Refusal unmet(const State& state) const;
    // Whether the kernel can end here. `after`, where given, becomes the state with the output's equation solved.
    Refusal ending(const State& state, State* after = nullptr);
    Refusal substitute(State& state, const Solution& solution);
    Refusal over_budget(const Bill& bill) const;
    bool reaches(const Field& field) const;
    uint64_t missing(const State& state) const { return missing(state.limits, state.tally.families); }
    uint64_t missing(const Limits& limits, uint64_t families) const;  // a bit for each necessary set without a member

    Sites& sites;
    RuleBook& book;
    const Options options;
    const Shape input;
    const Size input_numel;
    const std::vector<int> arity;  // of each template
    const std::vector<View> view;
    const int first_push;  // index of the first push
    Witnesses& witnesses() { return witnesses_; }

   private:
    Refusal evaluate(const Recipe& recipe, const Inputs& inputs, Effect& effect) const;
    Refusal extend(const State& state, const Effect& effect, System& system);
    void settle(Bill& bill, int cost, const Size& size) const;
    void spend(Bill& bill, const Assignment& witness) const;
    bool uses_[kViews] = {};
    Witnesses witnesses_;
};

}  // namespace canvas
