#include "moves.hpp"

#include <algorithm>
#include <cmath>

namespace canvas {

State Moves::start(const Limits& limits) const {
    State state;
    state.limits = limits;
    state.nodes.emplace_back();
    state.nodes[0].shape = input;
    state.stack = {0};
    spend(state);
    return state;
}

Refusal Moves::full(const State& state, int arity, bool weighted) const {
    if (static_cast<int>(state.stack.size()) < arity) return Refusal::few_tensors;
    if (state.primitives >= state.limits.max_primitives) return Refusal::most_primitives;
    if (!weighted) return Refusal::none;
    if (state.weighted >= options.most_weighted) return Refusal::most_weighted;
    const double ratio = options.weighted_ratio;
    if (ratio <= 0 || std::ceil((state.weighted + 1) / ratio - 1e-9) > state.limits.max_primitives)
        return Refusal::weighted_ratio;
    return Refusal::none;
}

std::vector<Table*> Moves::tables(const State& state, int arity) {
    if (arity == 1) return {&book.unary(state.top().shape)};
    const bool same = state.stack[state.stack.size() - 2] == state.stack.back();
    std::vector<Table*> found;
    for (int i = 0; i < kViews; ++i)
        if (uses_[i]) found.push_back(&book.binary(static_cast<View>(i), state.under().shape, state.top().shape, same));
    return found;
}

const Recipe* Moves::recipe(const State& state, int action) {
    const auto index = static_cast<size_t>(action);
    if (static_cast<int>(state.stack.size()) < arity[index]) return nullptr;
    if (arity[index] == 1) return book.unary(state.top().shape).find(action);
    const bool same = state.stack[state.stack.size() - 2] == state.stack.back();
    return book.binary(view[index], state.under().shape, state.top().shape, same).find(action);
}

Operands Moves::operands(const State& state, int arity) {
    const Node& top = state.top();
    if (arity == 1) return {-1, top.shape.pattern(), -1, top.facts};
    return {state.under().shape.pattern(), top.shape.pattern(), state.under().facts, top.facts};
}

namespace {

// What a recipe's monomials are made of.
struct Inputs {
    const Size* at[kAllInputs] = {};
    const Shape* shapes[2];
    Size products[kAllInputs - kGroupInputs];

    Inputs(const State& state, const Recipe& recipe, int arity, View view) {
        const Shape& top = state.top().shape;
        const Shape& under = arity == 1 ? top : state.under().shape;
        shapes[0] = recipe.swapped ? &top : &under;
        shapes[1] = recipe.swapped ? &under : &top;
        for (int slot = 0; slot < 2 * kSlots; ++slot) {
            at[slot] = &shapes[0]->sizes[slot];
            at[2 * kSlots + slot] = &shapes[1]->sizes[slot];
        }
        if (view == View::dims) return;
        for (int group = 0; group < 4; ++group)
            for (int slot = 0; slot < kSlots; ++slot)
                products[group] *= shapes[group / 2]->sizes[(group % 2) * kSlots + slot];
        if (view == View::aligned) {
            int prefix, suffix, slots[2 * kSlots];
            align(*shapes[0], *shapes[1], prefix, suffix);
            for (int operand = 0; operand < 2; ++operand) {
                const int dims = shapes[operand]->dims(slots);
                for (int i = prefix; i < dims - suffix; ++i) products[4 + operand] *= shapes[operand]->sizes[slots[i]];
            }
        }
        for (int i = kGroupInputs; i < kAllInputs; ++i) at[i] = &products[i - kGroupInputs];
    }
};

}  // namespace

Refusal Moves::evaluate(const State& state, const Recipe& recipe, int arity, const Size* fresh, Effect& effect) const {
    Inputs given(state, recipe, arity, view[static_cast<size_t>(recipe.action)]);
    const Size** inputs = given.at;
    for (int i = 0; i < recipe.fresh; ++i) inputs[kInputs + i] = &fresh[i];

    effect.recipe = &recipe;
    effect.shape = recipe.frame;
    for (int group = 0; group < 2; ++group) {
        if (recipe.copies[group] < 0) continue;
        const Shape& source = *given.shapes[recipe.copies[group] / 2];
        const int from = recipe.copies[group] % 2;
        effect.shape.spatial[group] = source.spatial[from];
        effect.shape.present[group] = source.present[from];
        std::copy_n(source.sizes + from * kSlots, kSlots, effect.shape.sizes + group * kSlots);
    }
    auto open = [&](const Size& size, double least) {  // a constraint: checked now where no size in it is free
        if (!size.has_variables()) return sites.at_least(size, least);
        effect.constraints.push_back({size, least});
        return true;
    };
    auto bounded = [&](const Size& size, double most) {
        if (size.has_variables()) {
            effect.volumes.push_back({size, most});
            return true;
        }
        Values values;
        return sites.integers(size, values) &&
               std::all_of(values.begin(), values.begin() + sites.count(), [most](double v) { return v <= most; });
    };
    for (const auto& dim : recipe.dims) {
        Size& size = effect.shape.sizes[dim.slot];
        if (dim.copy >= 0) {
            size = *inputs[dim.copy];
            continue;
        }
        size = dim.size.at(inputs);
        if (size.too_large()) return Refusal::exponent;
        if (!open(size, 1)) return Refusal::constraint;
    }
    for (const auto& [size, least] : recipe.constraints)
        if (!open(size.at(inputs), least)) return Refusal::constraint;
    if (!bounded(effect.shape.numel(), options.largest_activation)) return Refusal::activation;
    for (const auto& weight : recipe.weights) {
        effect.weights.push_back(weight.at(inputs));
        if (!sites.fixed() && effect.weights.back().has_spatial()) return Refusal::spatial_weight;
        if (!bounded(effect.weights.back(), options.largest_weight)) return Refusal::activation;
    }
    for (const auto& flops : recipe.flops) effect.flops.push_back(flops.at(inputs));
    return Refusal::none;
}

Refusal Moves::extend(const State& state, const Effect& effect, System& system) {
    const int known = state.system.variables, fresh = effect.recipe->fresh;
    system = state.system;
    bool holds = fresh == 0;
    for (const auto& constraint : effect.constraints) {
        if (system.known(constraint)) continue;
        system.constraints.push_back(constraint);
        holds = holds && system.holds(sites, constraint);
    }
    for (int i = 0; i < fresh; ++i) system.constraints.push_back({unit(known + i), 2});
    system.variables = known + fresh;
    if (!holds && !witnesses_.find(system, known)) return Refusal::constraint;
    system.volumes.insert(system.volumes.end(), effect.volumes.begin(), effect.volumes.end());
    if (holds) {
        for (const auto& volume : effect.volumes)
            if (!system.fits(sites, volume)) return Refusal::activation;
        return Refusal::none;
    }
    return system.all_fit(sites) ? Refusal::none : Refusal::activation;
}

Refusal Moves::preview(const State& state, const Recipe& recipe, int arity, Effect& effect, System& system) {
    if (recipe.group_count && state.group_count && recipe.group_count != state.group_count) return Refusal::group_count;
    if (state.system.variables + recipe.fresh > kVariables) return Refusal::variables;
    Size fresh[kLargestFresh];
    for (int i = 0; i < recipe.fresh; ++i) fresh[i] = unit(state.system.variables + i);
    effect.clear();
    if (const Refusal r = evaluate(state, recipe, arity, fresh, effect); r != Refusal::none) return r;
    return effect.plain() ? Refusal::none : extend(state, effect, system);
}

bool Moves::balanced(const State& state, const Recipe& recipe, int arity) const {
    if (!recipe.has_equation) return true;
    const Inputs inputs(state, recipe, arity, view[static_cast<size_t>(recipe.action)]);
    return recipe.left.at(inputs.at) == recipe.right.at(inputs.at);
}

Refusal Moves::apply(const State& given, const Recipe& wanted, int arity, std::optional<State>& after) {
    const Refusal refusal = full(given, arity, wanted.weighted);
    if (refusal != Refusal::none) return refusal;

    const State* state = &given;
    const Recipe* recipe = &wanted;
    std::optional<State> solved;
    if (wanted.has_equation) {
        const Inputs inputs(given, wanted, arity, view[static_cast<size_t>(wanted.action)]);
        const Size left = wanted.left.at(inputs.at), right = wanted.right.at(inputs.at);
        if (left != right) {
            Solution solution;
            if (!(left / right).has_variables() || !solve(sites, left, right, solution)) return Refusal::equation;
            solved = given;
            if (const Refusal r = substitute(*solved, solution); r != Refusal::none) return r;
            state = &*solved;
            recipe = this->recipe(*state, wanted.action);  // operands that became equal may align otherwise
            if (!recipe) return Refusal::shape;
        }
    }
    Effect effect;
    System system;
    if (const Refusal r = preview(*state, *recipe, arity, effect, system); r != Refusal::none) return r;
    const bool plain = effect.plain();
    const int known = state->system.variables;

    after = solved ? std::move(*solved) : given;
    State& next = *after;
    Node node;
    node.shape = effect.shape;
    node.recipe = recipe->id;
    node.action = recipe->action;
    const Node& top = state == &given ? given.top() : next.top();
    node.top = static_cast<int16_t>(next.stack.back());
    node.field = top.field;
    if (arity == 2) {
        node.under = static_cast<int16_t>(next.stack[next.stack.size() - 2]);
        node.field = node.field.joined(next.under().field);
    }
    node.field = node.field.moved(recipe->offset);
    if (!next.light) node.facts = book.facts(recipe->id, operands(next, arity));
    node.fresh = static_cast<int16_t>(next.fresh.size());
    node.fresh_count = static_cast<int16_t>(recipe->fresh);
    for (int i = 0; i < recipe->fresh; ++i) next.fresh.push_back(unit(known + i));
    const bool moved = !plain && system.witness != next.system.witness;
    if (!plain) next.system = std::move(system);
    next.stack.resize(next.stack.size() - static_cast<size_t>(arity));
    next.stack.push_back(static_cast<int>(next.nodes.size()));
    next.nodes.push_back(node);
    if (!next.light) next.program.push_back(recipe->action);
    next.primitives += 1;
    next.weighted += recipe->weighted;
    next.families |= uint64_t{1} << recipe->family;
    if (recipe->group_count) next.group_count = recipe->group_count;
    next.pushed = false;
    next.costs[0].insert(next.costs[0].end(), effect.flops.begin(), effect.flops.end());
    next.costs[1].insert(next.costs[1].end(), effect.weights.begin(), effect.weights.end());
    next.costs[2].push_back(effect.shape.numel());
    if (options.budgets()) {
        if (moved || solved) {
            spend(next);
        } else {
            const std::vector<Size>* added[] = {&effect.flops, &effect.weights};
            for (int i = 0; i < kCosts; ++i) {
                if (options.caps[i].empty()) continue;
                Values sums{};
                if (i == 2) {
                    sites.add(substituted(next.costs[2].back(), next.system.witness), sums);
                } else {
                    for (const auto& size : *added[i]) sites.add(substituted(size, next.system.witness), sums);
                }
                for (int site = 0; site < sites.count(); ++site) next.spent[i][static_cast<size_t>(site)] += sums[static_cast<size_t>(site)];
            }
        }
        if (const Refusal r = over_budget(next); r != Refusal::none) return r;
    }
    return Refusal::none;
}

void Moves::spend(State& state) const {
    for (int i = 0; i < kCosts; ++i) {
        if (options.caps[i].empty()) continue;
        Values sums{};
        for (const auto& size : state.costs[i]) sites.add(substituted(size, state.system.witness), sums);
        state.spent[i].assign(sums.begin(), sums.begin() + sites.count());
    }
}

Refusal Moves::over_budget(const State& state) const {
    static constexpr Refusal names[] = {Refusal::flops_budget, Refusal::params_budget, Refusal::memory_budget};
    for (int i = 0; i < kCosts; ++i)
        for (size_t site = 0; site < options.caps[i].size(); ++site)
            if (state.spent[i][site] > options.caps[i][site]) return names[i];
    return Refusal::none;
}

Refusal Moves::refused_push(const State& state, int tensor) const {
    if (tensor >= static_cast<int>(state.nodes.size())) return Refusal::no_tensor;
    if (static_cast<int>(state.stack.size()) >= state.limits.width) return Refusal::width;
    if (tensor != state.stack.back()) return Refusal::none;
    if (state.pushed) return Refusal::just_pushed;
    const Shape& shape = state.top().shape;
    return shape.empty(0) && shape.empty(1) ? Refusal::number : Refusal::none;
}

State Moves::after_push(const State& state, int tensor) const {
    State next = state;
    next.stack.push_back(tensor);
    if (!next.light) next.program.push_back(first_push + tensor);
    next.pushed = true;
    return next;
}

uint64_t Moves::missing(const State& state) const {
    uint64_t sets = 0;
    for (size_t i = 0; i < options.necessary.size(); ++i)
        if (!(options.necessary[i] & state.families)) sets |= uint64_t{1} << i;
    if (state.limits.require_bmm && !(options.bmm & state.families)) sets |= uint64_t{1} << options.necessary.size();
    return sets;
}

bool Moves::reaches(const Field& field) const {
    if (options.receptive_pixels <= 1) return true;
    Values height{}, width{};
    sites.integers(unit(kHeight), height);
    sites.integers(unit(kWidth), width);
    for (int site = 0; site < sites.count(); ++site)
        if (field.pixels(height[static_cast<size_t>(site)], width[static_cast<size_t>(site)]) < options.receptive_pixels) return false;
    return true;
}

Refusal Moves::unmet(const State& state) const {
    if (state.stack.size() != 1) return Refusal::tensors_left;
    if (state.primitives < state.limits.min_primitives) return Refusal::few_primitives;
    if (state.weighted < options.min_weighted) return Refusal::few_weighted;
    if (state.weighted > options.weighted_ratio * state.primitives + 1e-9) return Refusal::weighted_ratio;
    if (missing(state)) return Refusal::necessary;
    return reaches(state.top().field) ? Refusal::none : Refusal::receptive;
}

Refusal Moves::ending(const State& state, State* after) {
    if (const Refusal r = unmet(state); r != Refusal::none) return r;
    const Size have = state.top().shape.numel(), want = input.numel();
    if (after) *after = state;
    if (have == want) return Refusal::none;
    Solution solution;
    if (!have.has_variables() || !solve(sites, have, want, solution)) return Refusal::output_size;
    if (after) return substitute(*after, solution);
    if (options.budgets()) {
        State copy = state;
        return substitute(copy, solution);
    }
    State light;  // the solver needs no tensors
    light.system = state.system;
    return substitute(light, solution);
}

Refusal Moves::substitute(State& state, const Solution& solution) {
    System& system = state.system;
    auto apply = [&](Size& size) {
        if (!size.has_variables()) return;
        size = solution.apply(size);
    };
    std::vector<Constraint> kept;
    for (auto& constraint : system.constraints) {
        apply(constraint.size);
        if (!constraint.size.has_variables()) {
            if (!sites.at_least(constraint.size, constraint.least)) return Refusal::constraint;
        } else if (std::find(kept.begin(), kept.end(), constraint) == kept.end()) {
            kept.push_back(constraint);
        }
    }
    system.constraints = std::move(kept);
    for (int v = solution.variable; v + 1 < kVariables; ++v) system.witness[v] = system.witness[v + 1];
    system.witness[kVariables - 1] = Size{};
    system.variables -= 1;
    if (!witnesses_.find(system, system.variables)) return Refusal::constraint;
    for (auto& volume : system.volumes) {
        apply(volume.size);
        if (!system.fits(sites, volume)) return Refusal::activation;
    }
    system.volumes.erase(std::remove_if(system.volumes.begin(), system.volumes.end(),
                                        [](const Volume& volume) { return !volume.size.has_variables(); }),
                         system.volumes.end());
    for (auto& node : state.nodes) {
        for (int slot = 0; slot < 2 * kSlots; ++slot) {
            apply(node.shape.sizes[slot]);
            if (node.shape.sizes[slot].too_large()) return Refusal::exponent;
        }
    }
    for (auto& size : state.fresh) apply(size);
    for (auto& sum : state.costs)
        for (auto& size : sum) apply(size);
    if (options.budgets()) {
        spend(state);
        if (const Refusal r = over_budget(state); r != Refusal::none) return r;
    }
    return Refusal::none;
}

}  // namespace canvas
