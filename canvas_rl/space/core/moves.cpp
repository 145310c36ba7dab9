#include "moves.hpp"

#include <algorithm>
#include <cmath>

namespace canvas {

namespace {

const std::array<Size, kVariables> kUnits = [] {
    std::array<Size, kVariables> units;
    for (int v = 0; v < kVariables; ++v) units[static_cast<size_t>(v)] = unit(v);
    return units;
}();

}  // namespace

State Moves::start(const Limits& limits) const {
    State state;
    state.limits = limits;
    Node node;
    node.shape = input;
    node.shaped();
    state.nodes = {std::make_shared<Node>(node)};
    state.stack = {0};
    state.system = std::make_shared<System>();
    auto bill = std::make_shared<Bill>();
    for (auto& sums : bill->settled) sums.assign(static_cast<size_t>(sites.count()), 0);
    spend(*bill, {});
    state.bill = bill;
    return state;
}

Refusal Moves::full(const State& state, int arity, bool weighted) const {
    if (static_cast<int>(state.stack.size()) < arity) return Refusal::few_tensors;
    if (state.tally.primitives >= state.limits.max_primitives) return Refusal::most_primitives;
    if (!weighted) return Refusal::none;
    if (state.tally.weighted >= options.most_weighted) return Refusal::most_weighted;
    const double ratio = options.weighted_ratio;
    if (ratio <= 0 || std::ceil((state.tally.weighted + 1) / ratio - 1e-9) > state.limits.max_primitives)
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

Inputs::Inputs(const Shape* under, const Shape& top, bool swapped, View view, int known) {
    if (!under) under = &top;
    shapes[0] = swapped ? &top : under;
    shapes[1] = swapped ? under : &top;
    for (int slot = 0; slot < 2 * kSlots; ++slot) {
        at[slot] = &shapes[0]->sizes[slot];
        at[2 * kSlots + slot] = &shapes[1]->sizes[slot];
    }
    for (int i = 0; known + i < kVariables; ++i) at[kInputs + i] = &kUnits[static_cast<size_t>(known + i)];
    if (view == View::dims) return;
    for (int group = 0; group < 4; ++group)
        for (int slot = (group % 2) * kSlots; slot < (group % 2 + 1) * kSlots; ++slot)
            if (shapes[group / 2]->has(slot)) products[group] *= shapes[group / 2]->sizes[slot];
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

Refusal Moves::evaluate(const Recipe& recipe, const Inputs& given, Effect& effect) const {
    const Size* const* inputs = given.at;
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
    effect.numel = effect.shape.numel();
    if (!bounded(effect.numel, options.largest_activation)) return Refusal::activation;
    for (const auto& weight : recipe.weights) {
        effect.weights.push_back(weight.at(inputs));
        if (!sites.fixed() && effect.weights.back().has_spatial()) return Refusal::spatial_weight;
        if (!bounded(effect.weights.back(), options.largest_weight)) return Refusal::activation;
    }
    return Refusal::none;
}

Refusal Moves::extend(const State& state, const Effect& effect, System& system) {
    const int known = state.system->variables, fresh = effect.recipe->fresh;
    system = *state.system;
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

Refusal Moves::preview(const State& state, const Recipe& recipe, const Inputs& inputs, Effect& effect, System& system) {
    if (recipe.group_count && state.tally.group_count && recipe.group_count != state.tally.group_count) return Refusal::group_count;
    const int known = state.system->variables;
    if (known + state.system->hidden + recipe.fresh > kVariables) return Refusal::variables;
    effect.clear();
    if (const Refusal r = evaluate(recipe, inputs, effect); r != Refusal::none) return r;
    if (effect.priced)
        for (const auto& flops : recipe.flops) effect.flops.push_back(flops.at(inputs.at));
    return effect.plain() ? Refusal::none : extend(state, effect, system);
}

Refusal Moves::apply(const State& given, const Recipe& wanted, int arity, std::optional<State>& after) {
    if (const Refusal r = full(given, arity, wanted.weighted); r != Refusal::none) return r;

    const State* state = &given;
    const Recipe* recipe = &wanted;
    const View looks = arity == 1 ? View::dims : view[static_cast<size_t>(wanted.action)];
    std::optional<State> solved;
    if (wanted.has_equation) {
        const Inputs inputs = Moves::inputs(given, arity, wanted.swapped, looks);
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
    effect.priced = state->bill != nullptr;
    const Inputs inputs = Moves::inputs(*state, arity, recipe->swapped, looks);
    if (const Refusal r = preview(*state, *recipe, inputs, effect, system); r != Refusal::none) return r;
    const bool plain = effect.plain();
    const bool moved = !plain && system.witness != state->system->witness;
    std::shared_ptr<const Bill> bill;
    if (state->bill) {
        bill = billed(*state, effect, plain ? *state->system : system, moved);
        if (state->frugal)
            if (const Refusal r = over_budget(*bill); r != Refusal::none) return r;
    }

    Node node;
    node.shape = effect.shape;
    node.shaped();
    node.recipe = recipe->id;
    node.action = recipe->action;
    node.top = static_cast<int16_t>(state->stack.back());
    node.field = state->top().field;
    if (arity == 2) {
        node.under = static_cast<int16_t>(state->stack[state->stack.size() - 2]);
        node.field = node.field.joined(state->under().field);
    }
    node.field = node.field.moved(recipe->offset);
    if (!state->light) node.facts = book.facts(recipe->id, operands(*state, arity));
    for (int i = 0; i < recipe->fresh; ++i) node.fresh.push_back(unit(state->system->variables + i));

    after = solved ? std::move(*solved) : given;
    State& next = *after;
    if (!plain) next.system = std::make_shared<System>(std::move(system));
    next.bill = std::move(bill);
    next.stack.resize(next.stack.size() - static_cast<size_t>(arity));
    next.stack.push_back(static_cast<int>(next.nodes.size()));
    next.nodes.push_back(std::make_shared<Node>(std::move(node)));
    if (next.light) {
        next.places.push_back(next.made++);
    } else {
        next.program.push_back(recipe->action);
    }
    next.tally = next.tally.with(*recipe);
    next.pushed = false;
    return Refusal::none;
}

void Moves::settle(Bill& bill, int cost, const Size& size) const {
    if (size.has_variables()) {
        bill.open[cost].push_back(size);
        return;
    }
    Values sums{};
    sites.add(size, sums);
    for (size_t site = 0; site < bill.settled[cost].size(); ++site) bill.settled[cost][site] += sums[site];
}

void Moves::spend(Bill& bill, const Assignment& witness) const {
    for (int i = 0; i < kCosts; ++i) {
        if (options.caps[i].empty()) continue;
        Values sums{};
        for (const auto& size : bill.open[i]) sites.add(substituted(size, witness), sums);
        bill.spent[i] = bill.settled[i];
        for (size_t site = 0; site < bill.spent[i].size(); ++site) bill.spent[i][site] += sums[site];
    }
}

std::shared_ptr<const Bill> Moves::billed(const State& state, const Effect& effect, const System& system, bool moved) const {
    auto bill = std::make_shared<Bill>(*state.bill);
    const std::vector<Size> elements{effect.numel};
    const std::vector<Size>* added[] = {&effect.flops, &effect.weights, &elements};
    for (int i = 0; i < kCosts; ++i)
        for (const auto& size : *added[i]) settle(*bill, i, size);
    if (moved) {
        spend(*bill, system.witness);
        return bill;
    }
    for (int i = 0; i < kCosts; ++i) {
        if (options.caps[i].empty()) continue;
        Values sums{};
        for (const auto& size : *added[i]) sites.add(substituted(size, system.witness), sums);
        for (size_t site = 0; site < bill->spent[i].size(); ++site) bill->spent[i][site] += sums[site];
    }
    return bill;
}

Refusal Moves::over_budget(const Bill& bill) const {
    static constexpr Refusal names[] = {Refusal::flops_budget, Refusal::params_budget, Refusal::memory_budget};
    for (int i = 0; i < kCosts; ++i)
        for (size_t site = 0; site < options.caps[i].size(); ++site)
            if (bill.spent[i][site] > options.caps[i][site]) return names[i];
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

uint64_t Moves::missing(const Limits& limits, uint64_t families) const {
    uint64_t sets = 0;
    for (size_t i = 0; i < options.necessary.size(); ++i)
        if (!(options.necessary[i] & families)) sets |= uint64_t{1} << i;
    if (limits.require_bmm && !(options.bmm & families)) sets |= uint64_t{1} << options.necessary.size();
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
    if (state.tally.primitives < state.limits.min_primitives) return Refusal::few_primitives;
    if (state.tally.weighted < options.min_weighted) return Refusal::few_weighted;
    if (state.tally.weighted > options.weighted_ratio * state.tally.primitives + 1e-9) return Refusal::weighted_ratio;
    if (missing(state)) return Refusal::necessary;
    return reaches(state.top().field) ? Refusal::none : Refusal::receptive;
}

Refusal Moves::ending(const State& state, State* after) {
    if (const Refusal r = unmet(state); r != Refusal::none) return r;
    const Size& have = state.top().numel;
    if (after) *after = state;
    if (have == input_numel) return Refusal::none;
    Solution solution;
    if (!have.has_variables() || !solve(sites, have, input_numel, solution)) return Refusal::output_size;
    if (after) return substitute(*after, solution);
    State light;  // the solver needs no tensors
    light.system = state.system;
    if (state.bill && state.frugal && options.budgets()) light.bill = state.bill;
    return substitute(light, solution);
}

Refusal Moves::substitute(State& state, const Solution& solution) {
    System system = *state.system;
    std::vector<Constraint> kept;
    for (auto& constraint : system.constraints) {
        constraint.size = solution.apply(constraint.size);
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
        volume.size = solution.apply(volume.size);
        if (!system.fits(sites, volume)) return Refusal::activation;
    }
    system.volumes.erase(std::remove_if(system.volumes.begin(), system.volumes.end(),
                                        [](const Volume& volume) { return !volume.size.has_variables(); }),
                         system.volumes.end());
    for (auto& tensor : state.nodes) {
        const bool fresh = std::any_of(tensor->fresh.begin(), tensor->fresh.end(), [](const Size& size) { return size.has_variables(); });
        if (!fresh && !tensor->shape.has_variables()) continue;
        Node node = *tensor;
        for (Size& size : node.shape.sizes) {
            size = solution.apply(size);
            if (size.too_large()) return Refusal::exponent;
        }
        for (Size& size : node.fresh) size = solution.apply(size);
        node.shaped();
        tensor = std::make_shared<Node>(std::move(node));
    }
    if (state.bill) {
        auto bill = std::make_shared<Bill>(*state.bill);
        for (int i = 0; i < kCosts; ++i) {
            std::vector<Size> open;
            open.swap(bill->open[i]);
            for (const auto& size : open) settle(*bill, i, solution.apply(size));
        }
        spend(*bill, system.witness);
        if (state.frugal)
            if (const Refusal r = over_budget(*bill); r != Refusal::none) return r;
        state.bill = std::move(bill);
    }
    state.system = std::make_shared<System>(std::move(system));
    return Refusal::none;
}

}  // namespace canvas
