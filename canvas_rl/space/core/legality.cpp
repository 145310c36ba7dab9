#include "legality.hpp"

#include <algorithm>
#include <numeric>

namespace canvas {

Legality::Legality(const ActionSet& actions, Moves& moves, Finisher& finisher, const State& state)
    : actions_(actions), moves_(moves), finisher_(finisher), state_(state) {
    if (state.done()) return;
    for (int arity = 1; arity <= std::min(2, static_cast<int>(state.stack.size())); ++arity) {
        const Operands operands = Moves::operands(state, arity);
        for (Table* table : moves.tables(state, arity)) {
            std::vector<int8_t> kinds(table->first.size(), -1);
            parts_.push_back({table, arity, operands, moves.book.verdicts(*table, operands), std::move(kinds)});
        }
    }
}

Refusal Legality::certified(const State& after) {
    return finisher_.can_finish(after) ? Refusal::none : Refusal::unfinishable;
}

// Whether the same weightless primitive was applied to the same operands: its result can be pushed.
bool Legality::repeated(const Recipe& recipe, int arity) const {
    if (!recipe.twin) return false;
    const int top = state_.stack.back(), under = arity == 2 ? state_.stack[state_.stack.size() - 2] : -1;
    return std::any_of(state_.nodes.begin(), state_.nodes.end(), [&](const Node& node) {
        return node.action == recipe.action && node.top == top && node.under == under;
    });
}

Legality::Part* Legality::part(int action) {
    const auto index = static_cast<size_t>(action);
    for (auto& part : parts_)
        if (part.arity == moves_.arity[index] && part.table->view == (part.arity == 1 ? View::dims : moves_.view[index]))
            return &part;
    return nullptr;
}

Refusal Legality::template_refusal(int action, bool sensible) {
    Part* part = this->part(action);
    if (!part) return Refusal::few_tensors;
    const Recipe* recipe = part->table->find(action);
    return recipe ? refusal_in(*part, *recipe, sensible) : Refusal::shape;
}

Refusal Legality::refusal_in(Part& part, const Recipe& recipe, bool sensible) {
    if (sensible) {
        const auto index = static_cast<size_t>(&recipe - part.table->recipes.data());
        if (moves_.book.pointless(*part.table, *part.verdicts, part.operands, index)) return Refusal::pointless;
        if (repeated(recipe, part.arity)) return Refusal::repeated;
    }
    auto& known = part.kinds[static_cast<size_t>(recipe.kind)];
    if (known < 0) {
        known = static_cast<int8_t>(kind_refusal(recipe, part.arity));
    }
    if (sensible && known == 0 && state_.remaining() == 1 && ends_pointlessly(recipe, part.arity)) return Refusal::pointless;
    return static_cast<Refusal>(known);
}

Refusal Legality::kind_refusal(const Recipe& recipe, int arity) {
    if (const Refusal r = moves_.full(state_, arity, recipe.weighted); r != Refusal::none) return r;
    if (moves_.balanced(state_, recipe, arity)) {  // most are settled without making the state afterwards
        if (const Refusal r = moves_.preview(state_, recipe, arity, effect_, system_); r != Refusal::none) return r;
        const size_t left = state_.stack.size() - static_cast<size_t>(arity);
        if (finisher_.easily_after(state_, recipe, effect_, system_, left)) return Refusal::none;
    }
    std::optional<State> after;
    const Refusal found = moves_.apply(state_, recipe, arity, after);
    return found == Refusal::none ? certified(*after) : found;
}

// Whether only the output can follow a primitive, and it makes no sense.
bool Legality::ends_pointlessly(const Recipe& recipe, int arity) {
    std::optional<State> after;
    moves_.apply(state_, recipe, arity, after);
    return after->stack.size() == 1 && moves_.book.pointless_output(after->top().shape, after->top().facts);
}

Refusal Legality::push_refusal(int tensor) {
    if (const Refusal r = moves_.refused_push(state_, tensor); r != Refusal::none) return r;
    if (state_.remaining() < static_cast<int>(state_.stack.size())) return Refusal::unfinishable;
    const Node& node = state_.nodes[static_cast<size_t>(tensor)];
    const auto place = std::find(state_.stack.begin(), state_.stack.end(), tensor) - state_.stack.begin();
    const int parts[] = {node.shape.pattern(), static_cast<int>(place), tensor == 0};
    uint64_t key = mix(mix(5, parts, sizeof parts), node.shape.sizes, sizeof node.shape.sizes);
    if (moves_.options.receptive_pixels > 1) key = mix(key, &node.field, sizeof node.field);
    for (const auto& [known, verdict] : pushes_)
        if (known == key) return verdict;
    const bool easy = finisher_.easily_after_push(state_, tensor);
    pushes_.emplace_back(key, easy ? Refusal::none : certified(moves_.after_push(state_, tensor)));
    return pushes_.back().second;
}

Refusal Legality::output_refusal(int level, bool sensible) {
    State after;
    if (const Refusal r = moves_.ending(state_, &after); r != Refusal::none) return r;
    if (level > 0 && after.system.variables == 0) return Refusal::one_level;
    const Node& top = state_.top();
    return sensible && moves_.book.pointless_output(top.shape, top.facts) ? Refusal::pointless : Refusal::none;
}

// Why an action is illegal, the way out left aside.
Refusal Legality::verdict(int action) {
    if (actions_.is_output(action)) return output_refusal(action - actions_.templates - actions_.pushes, true);
    if (actions_.is_push(action)) return push_refusal(action - actions_.templates);
    return template_refusal(action, true);
}

Refusal Legality::refusal(int action) {
    if (state_.done()) return Refusal::finished;
    const Refusal found = verdict(action);
    const bool senseless = found == Refusal::pointless || found == Refusal::repeated;
    return senseless && !any_sensible() && action == way_out() ? Refusal::none : found;
}

bool Legality::any_sensible() {
    for (int action = actions_.size() - 1; action >= 0 && any_sensible_ < 0; --action)
        if (verdict(action) == Refusal::none) any_sensible_ = 1;
    if (any_sensible_ < 0) any_sensible_ = 0;
    return any_sensible_ == 1;
}

// Where all that makes sense leads nowhere: the output, or the first action of a finishing program.
int Legality::way_out() {
    if (way_out_ == -2) {
        std::vector<int> program;
        if (output_refusal(0, false) == Refusal::none) {
            way_out_ = actions_.templates + actions_.pushes;
        } else {
            way_out_ = finisher_.plan(state_, program) && !program.empty() ? program[0] : -1;
        }
        for (int action = 0; way_out_ == -1 && action < actions_.templates; ++action)
            if (template_refusal(action, false) == Refusal::none) way_out_ = action;
    }
    return way_out_;
}

void Legality::mask(uint8_t* out) {
    const auto size = static_cast<size_t>(actions_.size());
    std::fill(out, out + size, uint8_t{0});
    if (state_.done()) return;
    bool any = false;
    auto set = [&](int action, Refusal verdict) {
        if (verdict != Refusal::none) return;
        out[action] = 1;
        any = true;
    };
    for (auto& part : parts_) {
        moves_.book.ask_all(*part.table, *part.verdicts, part.operands);
        for (const Recipe& recipe : part.table->recipes) set(recipe.action, refusal_in(part, recipe, true));
    }
    for (int tensor = 0; tensor < static_cast<int>(state_.nodes.size()) && tensor < actions_.pushes; ++tensor)
        set(actions_.templates + tensor, push_refusal(tensor));
    if (state_.stack.size() == 1)
        for (int level = 0; level < static_cast<int>(actions_.levels.size()); ++level)
            set(actions_.templates + actions_.pushes + level, output_refusal(level, true));
    any_sensible_ = any;
    if (!any && way_out() >= 0) out[way_out()] = 1;
}

int Legality::draw(Random& random) {
    const auto& families = actions_.members;
    std::vector<int> order(families.size()), actions;
    std::iota(order.begin(), order.end(), 0);
    for (size_t left = order.size(); left > 0; --left) {
        const size_t chosen = random.below(left);
        const int family = order[chosen];
        order[chosen] = order[left - 1];
        actions = families[static_cast<size_t>(family)];
        for (size_t rest = actions.size(); rest > 0; --rest) {
            const size_t at = random.below(rest);
            const int action = actions[at];
            actions[at] = actions[rest - 1];
            if (verdict(action) == Refusal::none) return action;
        }
    }
    return way_out();
}

State Legality::after(int action) {
    if (actions_.is_push(action)) return moves_.after_push(state_, action - actions_.templates);
    if (actions_.is_output(action)) {
        State after;
        moves_.ending(state_, &after);
        after.fill = action - actions_.templates - actions_.pushes;
        after.program.push_back(action);
        return after;
    }
    std::optional<State> after;
    moves_.apply(state_, *moves_.recipe(state_, action), moves_.arity[static_cast<size_t>(action)], after);
    return std::move(*after);
}

}  // namespace canvas
