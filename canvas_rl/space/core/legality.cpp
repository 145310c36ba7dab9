#include "legality.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace canvas {

Legality::Legality(const ActionSet& actions, Moves& moves, Finisher& finisher, const State& state)
    : actions_(actions), moves_(moves), finisher_(finisher), state_(state) {
    if (state.done()) return;
    for (int arity = 1; arity <= std::min(2, static_cast<int>(state.stack.size())); ++arity) {
        for (Table* table : moves.tables(state, arity)) parts_.emplace_back(moves.book, table, arity, state);
    }
}

const State& Legality::light() {
    if (!light_) light_ = state_.lighter(moves_.options.budgets());
    return *light_;
}

// Whether the same weightless primitive was applied to the same operands: its result can be pushed.
bool Legality::repeated(const Recipe& recipe, int arity) const {
    if (!recipe.twin) return false;
    const int top = state_.stack.back(), under = arity == 2 ? state_.stack[state_.stack.size() - 2] : -1;
    return std::any_of(state_.nodes.begin(), state_.nodes.end(), [&](const Tensor& node) {
        return node->action == recipe.action && node->top == top && node->under == under;
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
        if (moves_.book.pointless(*part.table, part.verdicts, part.operands, index)) return Refusal::pointless;
        if (repeated(recipe, part.arity)) return Refusal::repeated;
    }
    auto& known = part.kinds[static_cast<size_t>(recipe.kind)];
    if (known < 0) known = static_cast<int8_t>(kind_refusal(part, recipe));
    if (sensible && known == 0 && ends_pointlessly(part, recipe)) return Refusal::pointless_end;
    return static_cast<Refusal>(known);
}

Refusal Legality::kind_refusal(Part& part, const Recipe& recipe) {
    const int arity = part.arity;
    if (const Refusal r = moves_.full(state_, arity, recipe.weighted); r != Refusal::none) return r;
    const Inputs& inputs = part.inputs[recipe.swapped];
    if (moves_.balanced(recipe, inputs)) {  // most are settled without making the state afterwards
        effect_.priced = moves_.options.budgets();
        if (const Refusal r = moves_.preview(state_, recipe, inputs, effect_, system_); r != Refusal::none) return r;
        const bool plain = effect_.plain();
        std::shared_ptr<const Bill> bill;
        if (effect_.priced) {
            const bool moved = !plain && system_.witness != state_.system->witness;
            bill = moves_.billed(state_, effect_, plain ? *state_.system : system_, moved);
            if (const Refusal r = moves_.over_budget(*bill); r != Refusal::none) return r;
        }
        Field field = state_.top().field;
        if (arity == 2) field = field.joined(state_.under().field);
        field = field.moved(recipe.offset);
        const Landing landing{effect_.shape, effect_.numel, field, plain ? *state_.system : system_, bill.get(),
                              state_.stack.size() - static_cast<size_t>(arity), false, state_.tally.with(recipe)};
        if (finisher_.easily(state_, landing)) return Refusal::none;
    }
    std::optional<State> after;
    if (const Refusal r = moves_.apply(light(), recipe, arity, after); r != Refusal::none) return r;
    if (state_.remaining() == 1 && after->stack.size() == 1)
        part.patterns[static_cast<size_t>(recipe.kind)] = after->top().shape.pattern();
    if (planned(recipe.action)) return Refusal::none;
    return finisher_.can_finish(*after) ? Refusal::none : Refusal::unfinishable;
}

// Whether an action, or one of its kind, comes next in the plan that the state was found legal by.
bool Legality::planned(int action) {
    if (state_.plan.empty()) return false;
    const int next = state_.plan[0];
    if (actions_.is_push(action) != actions_.is_push(next)) return false;
    if (actions_.is_push(action)) return push_key(action - actions_.templates) == push_key(next - actions_.templates);
    const Part* part = this->part(action);
    if (part != this->part(next)) return false;
    return part->table->find(action)->kind == part->table->find(next)->kind;
}

// Whether only the output can follow a primitive, and it makes no sense.
bool Legality::ends_pointlessly(const Part& part, const Recipe& recipe) {
    const int pattern = part.patterns[static_cast<size_t>(recipe.kind)];
    return pattern >= 0 && moves_.book.pointless_output(pattern, moves_.book.facts(recipe.id, part.operands));
}

// What a push's legality depends on.
uint64_t Legality::push_key(int tensor) const {
    const Node& node = state_.node(tensor);
    const auto place = std::find(state_.stack.begin(), state_.stack.end(), tensor) - state_.stack.begin();
    const int parts[] = {static_cast<int>(place), tensor == 0};
    const uint64_t key = mix(node.key, parts, sizeof parts);
    return moves_.options.receptive_pixels > 1 ? mix(key, &node.field, sizeof node.field) : key;
}

Refusal Legality::push_refusal(int tensor) {
    if (const Refusal r = moves_.refused_push(state_, tensor); r != Refusal::none) return r;
    if (state_.remaining() < static_cast<int>(state_.stack.size())) return Refusal::unfinishable;
    const uint64_t key = push_key(tensor);
    for (const auto& [known, verdict] : pushes_)
        if (known == key) return verdict;
    const bool legal = finisher_.easily_after_push(state_, tensor) || planned(actions_.templates + tensor) ||
                       finisher_.can_finish(moves_.after_push(light(), tensor));
    pushes_.emplace_back(key, legal ? Refusal::none : Refusal::unfinishable);
    return pushes_.back().second;
}

Refusal Legality::output_refusal(int level, bool sensible) {
    State after;
    if (const Refusal r = moves_.ending(state_, &after); r != Refusal::none) return r;
    if (level > 0 && after.system->variables == 0) return Refusal::one_level;
    const Node& top = state_.top();
    return sensible && moves_.book.pointless_output(top.shape.pattern(), top.facts) ? Refusal::pointless : Refusal::none;
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
    return found != Refusal::none && action == way_out() && !any_sensible() ? Refusal::none : found;
}

bool Legality::any_sensible() {
    for (int action = actions_.size() - 1; action >= 0 && any_sensible_ < 0; --action)
        if (verdict(action) == Refusal::none) any_sensible_ = 1;
    if (any_sensible_ < 0) any_sensible_ = 0;
    return any_sensible_ == 1;
}

// Where all that makes sense leads nowhere: the output, or what the state was found legal by.
int Legality::way_out() {
    if (way_out_ == -2) {
        std::vector<int> plan = state_.plan;
        if (output_refusal(0, false) == Refusal::none) {
            way_out_ = actions_.templates + actions_.pushes;
        } else if (!plan.empty() || (finisher_.can_finish(state_, &plan) && !plan.empty())) {
            way_out_ = plan[0];
        } else {
            way_out_ = finisher_.homeward(state_);
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
        moves_.book.ask_all(*part.table, part.verdicts, part.operands);
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
    std::optional<State> next;
    if (actions_.is_output(action)) {
        moves_.ending(state_, &next.emplace());
        next->fill = action - actions_.templates - actions_.pushes;
        next->program.push_back(action);
        return std::move(*next);
    }
    if (actions_.is_push(action)) {
        next = moves_.after_push(state_, action - actions_.templates);
    } else {
        moves_.apply(state_, *moves_.recipe(state_, action), moves_.arity[static_cast<size_t>(action)], next);
    }
    if (!next) throw std::logic_error("a legal action was refused when it was taken: a bug of the solver");
    if (planned(action)) {
        next->plan.erase(next->plan.begin());
    } else {
        finisher_.can_finish(*next, &next->plan);
    }
    return std::move(*next);
}

}  // namespace canvas
