#include "finish.hpp"

#include <algorithm>

namespace canvas {

namespace {

constexpr int kImpossible = 1 << 20;  // primitives
constexpr size_t kHomes = 1 << 16;
constexpr int kBranches = 2, kBranchingDepth = 5;

// Sets of dims to fold, those that cost the fewest primitives first, kernel dims before others.
std::vector<int> make_fold_sets(const Shape& shape) {
    static constexpr int rank[] = {2, 5, 0, 1, 3, 4};  // G, C, KH, KW, H, W
    int dims[2 * kSlots];
    const int count = shape.dims(dims);
    std::stable_sort(dims, dims + count, [&](int a, int b) { return rank[shape.name(a)] < rank[shape.name(b)]; });
    std::vector<std::pair<int, int>> sets;  // (price, slots)
    for (int chosen = 0; chosen < 1 << count; ++chosen) {
        int slots = 0;
        for (int i = 0; i < count; ++i)
            if (chosen >> i & 1) slots |= 1 << dims[i];
        Shape folded;
        for (int group = 0; group < 2; ++group) {
            folded.spatial[group] = shape.spatial[group];
            folded.present[group] = static_cast<uint8_t>(slots >> (group * kSlots) & 15);
        }
        sets.emplace_back(folded.folds(), slots);
    }
    std::stable_sort(sets.begin(), sets.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<int> result;
    for (const auto& set : sets) result.push_back(set.second);
    return result;
}

Shape folded(const Shape& shape, int slots) {
    Shape result = shape;
    for (int slot = 0; slot < 2 * kSlots; ++slot) {
        if (!(slots >> slot & 1)) continue;
        result.present[slot / kSlots] = static_cast<uint8_t>(result.present[slot / kSlots] & ~(1 << (slot % kSlots)));
        result.sizes[slot] = Size{};
    }
    return result;
}

void append(std::vector<int>& out, const std::vector<int>& more) { out.insert(out.end(), more.begin(), more.end()); }

}  // namespace

bool Finisher::can_finish(const State& state) { return far_from_limits(state) || search(compact(state, state.remaining() <= exact_), nullptr); }

bool Finisher::plan(const State& state, std::vector<int>& program) {
    program.clear();
    State light = state;  // all tensors, so that the program's pushes name them
    light.light = true;
    if (!search(light, &program)) return false;
    std::reverse(program.begin(), program.end());
    return true;
}

// The bound: from the top down, fold each tensor until it can be broadcast to the one beneath, at last to the input; then
// the program is again a tensor like the input ("home"), and what is missing follows.

const std::vector<int>& Finisher::fold_sets(const Shape& shape) {
    auto& sets = fold_sets_[static_cast<size_t>(shape.pattern())];
    if (sets.empty()) sets = make_fold_sets(shape);
    return sets;
}

// The fewest Fold primitives after which a shape can be broadcast to a target; `dims` becomes what to fold. A tensor
// can't join itself: `same` asks for one at least.
int Finisher::fewest_folds(const Shape& shape, const Shape& target, const Assignment& witness, bool same, int* dims) {
    for (int slots : fold_sets(shape)) {
        if (same && !slots) continue;
        const Shape left = folded(shape, slots);
        int prefix, suffix, a[2 * kSlots], b[2 * kSlots];
        align(left, target, prefix, suffix);
        const int n = left.dims(a), m = target.dims(b);
        Size quotient;
        for (int i = prefix; i < m - suffix; ++i) quotient *= target.sizes[b[i]];
        for (int i = prefix; i < n - suffix; ++i) quotient /= left.sizes[a[i]];
        if (!moves_.sites.at_least(substituted(quotient, witness), 1)) continue;
        if (dims) *dims = slots;
        Shape counted = shape;
        for (int group = 0; group < 2; ++group) counted.present[group] = static_cast<uint8_t>(slots >> (group * kSlots) & 15);
        return counted.folds();
    }
    return kImpossible;
}

// Primitives that bring the lowest tensors of the stack home, once the one on top of them has joined them.
int Finisher::joins(const State& state, size_t left, const Assignment& witness) {
    int steps = 0;
    for (size_t i = left; i-- > 0;) {
        const Node& node = state.nodes[static_cast<size_t>(state.stack[i])];
        const Shape& target = i ? state.nodes[static_cast<size_t>(state.stack[i - 1])].shape : moves_.input;
        steps += fewest_folds(node.shape, target, witness, false) + 1;
    }
    return steps;
}

// Whether a tensor can be broadcast to the input as it is: the last step home, once the input was pushed.
bool Finisher::joins_input(const State& state, int tensor) {
    const Shape& shape = state.nodes[static_cast<size_t>(tensor)].shape;
    return tensor != 0 && fewest_folds(shape, moves_.input, state.system.witness, false) == 0;
}

bool Finisher::far_from_limits(const State& state) {
    if (!routes_.joins || !routes_.folding || state.limits.width < 2) return false;
    const bool reaches = std::any_of(state.stack.begin(), state.stack.end(), [&](int tensor) {
        return moves_.reaches(state.nodes[static_cast<size_t>(tensor)].field);
    });
    // What is required may cost more than a budget leaves: then only cheap primitives may be missing.
    if (moves_.options.budgets() && (!reaches || moves_.missing(state) ||
                                     state.weighted < moves_.options.min_weighted || !affordable(state)))
        return false;
    const size_t depth = state.stack.size();
    const Shape& top = state.top().shape;
    int steps = 0;
    if (depth == 2 && state.stack[1] == 0 && joins_input(state, state.stack[0])) {
        steps = 1;
    } else if (depth > 1) {
        const bool same = state.stack[depth - 2] == state.stack.back();
        steps = fewest_folds(top, state.under().shape, state.system.witness, same) + 1 +
                joins(state, depth - 1, state.system.witness);
    } else if (!(top == moves_.input) || state.stack[0] == 0) {
        steps = fewest_folds(top, moves_.input, state.system.witness, state.stack[0] == 0) + 1;
    }
    return home_in_time(state.limits, state.primitives + steps, state.weighted, state.families, reaches);
}

bool Finisher::easily_after_push(const State& state, int tensor) {
    if (!routes_.joins || !routes_.folding || moves_.options.receptive_pixels > 1) return false;
    if (moves_.options.budgets() &&
        (moves_.missing(state) || state.weighted < moves_.options.min_weighted || !affordable(state)))
        return false;
    const Assignment& witness = state.system.witness;
    const Shape& shape = state.nodes[static_cast<size_t>(tensor)].shape;
    int steps = 1;
    if (tensor != 0 || state.stack.size() > 1 || !joins_input(state, state.stack[0]))
        steps = fewest_folds(shape, state.top().shape, witness, tensor == state.stack.back()) + 1 +
                joins(state, state.stack.size(), witness);
    return home_in_time(state.limits, state.primitives + steps, state.weighted, state.families, true);
}

bool Finisher::easily_after(const State& state, const Recipe& recipe, const Effect& effect, const System& system, size_t left) {
    if (!routes_.joins || !routes_.folding || state.limits.width < 2) return false;
    if (moves_.options.receptive_pixels > 1) return false;
    if (moves_.options.budgets() && !affordable_after(state, recipe, effect, system, left)) return false;
    const Assignment& witness = effect.plain() ? state.system.witness : system.witness;
    int steps = 0;
    if (left) {
        const Shape& under = state.nodes[static_cast<size_t>(state.stack[left - 1])].shape;
        steps = fewest_folds(effect.shape, under, witness, false) + 1 + joins(state, left, witness);
    } else if (!(effect.shape == moves_.input)) {
        steps = fewest_folds(effect.shape, moves_.input, witness, false) + 1;
    }
    return home_in_time(state.limits, state.primitives + 1 + steps, state.weighted + recipe.weighted,
                        state.families | uint64_t{1} << recipe.family, true);
}

// Whether a kernel that is home after `reached` primitives can end in time with what is required.
bool Finisher::home_in_time(const Limits& limits, int reached, int weighted, uint64_t families, bool reaches) {
    if (reached >= limits.max_primitives) return false;
    State state = home(limits, reached, weighted, families, reaches);
    const int parts[] = {reached, weighted, reaches, limits.min_primitives, limits.max_primitives, limits.width > 1};
    const uint64_t missing = moves_.missing(state);
    const uint64_t key = mix(mix(1, parts, sizeof parts), &missing, sizeof missing);
    const auto known = homes_.find(key);
    if (known != homes_.end()) return known->second;
    const bool found = search(state, nullptr);
    if (homes_.size() >= kHomes) homes_.clear();
    return homes_[key] = found;
}

State Finisher::home(const Limits& limits, int reached, int weighted, uint64_t families, bool reaches) const {
    State home = moves_.start(limits);
    home.light = true;
    Node node = home.nodes[0];
    constexpr int32_t everywhere = 1 << 20;
    if (reaches) node.field = {-everywhere, everywhere, -everywhere, everywhere};
    home.nodes.push_back(node);
    home.stack = {1};
    home.primitives = reached;
    home.weighted = weighted;
    home.families = families;
    return home;
}

// Whether all primitives that still fit, without weights and as large as the largest tensor, surely keep the budgets.
bool Finisher::affordable(const State& state) const {
    return affords(state.spent, state.remaining(), moves_.input, state.system.witness) &&
           std::all_of(state.stack.begin(), state.stack.end(), [&](int tensor) {
               const Shape& shape = state.nodes[static_cast<size_t>(tensor)].shape;
               return affords(state.spent, state.remaining(), shape, state.system.witness);
           });
}

bool Finisher::affords(const std::vector<double>* spent, int steps, const Shape& shape, const Assignment& witness) const {
    Values elements{};
    moves_.sites.add(substituted(shape.numel(), witness), elements);
    for (int i : {0, 2})
        for (size_t site = 0; site < moves_.options.caps[i].size(); ++site)
            if (spent[i][site] + 8 * steps * elements[site] > moves_.options.caps[i][site]) return false;
    return true;
}

// The same after a primitive that leaves the witness as it is; only where nothing else is required any more.
bool Finisher::affordable_after(const State& state, const Recipe& recipe, const Effect& effect, const System& system,
                                size_t left) const {
    const auto& options = moves_.options;
    if (moves_.missing(state) || state.weighted + recipe.weighted < options.min_weighted) return false;
    if (recipe.fresh || (!effect.plain() && system.witness != state.system.witness)) return false;
    const Assignment& witness = state.system.witness;
    std::vector<double> spent[kCosts];
    const std::vector<Size> elements{effect.shape.numel()};
    const std::vector<Size>* added[] = {&effect.flops, &effect.weights, &elements};
    for (int i = 0; i < kCosts; ++i) {
        if (options.caps[i].empty()) continue;
        Values sums{};
        for (const auto& size : *added[i]) moves_.sites.add(substituted(size, witness), sums);
        for (size_t site = 0; site < options.caps[i].size(); ++site) {
            spent[i].push_back(state.spent[i][site] + sums[site]);
            if (spent[i].back() > options.caps[i][site]) return false;
        }
    }
    const int steps = state.remaining() - 1;
    if (!affords(spent, steps, moves_.input, witness) || !affords(spent, steps, effect.shape, witness)) return false;
    return std::all_of(state.stack.begin(), state.stack.begin() + static_cast<long>(left), [&](int tensor) {
        return affords(spent, steps, state.nodes[static_cast<size_t>(tensor)].shape, witness);
    });
}

// The search: guided by routes far from the end, exact for the last primitives.

State Finisher::compact(const State& state, bool keep_all) {
    State light;
    light.light = true;
    light.limits = state.limits;
    light.primitives = state.primitives;
    light.weighted = state.weighted;
    light.families = state.families;
    light.group_count = state.group_count;
    light.pushed = state.pushed;
    light.system = state.system;
    for (int i = 0; i < kCosts; ++i) {
        light.spent[i] = state.spent[i];
        if (!light.spent[i].empty()) light.costs[i] = state.costs[i];
    }
    std::vector<int> moved(state.nodes.size(), -1);
    moved[0] = 0;
    light.nodes.push_back(state.nodes[0]);
    for (int tensor : state.stack) {
        int& place = moved[static_cast<size_t>(tensor)];
        if (place < 0) {
            place = static_cast<int>(light.nodes.size());
            light.nodes.push_back(state.nodes[static_cast<size_t>(tensor)]);
        }
        light.stack.push_back(place);
    }
    if (!keep_all) return light;
    for (const auto& node : state.nodes) {  // one of each other shape that could be pushed
        const bool known = std::any_of(light.nodes.begin(), light.nodes.end(), [&](const Node& kept) {
            return kept.shape == node.shape && std::memcmp(&kept.field, &node.field, sizeof(Field)) == 0;
        });
        if (!known) light.nodes.push_back(node);
    }
    return light;
}

uint64_t Finisher::signature(const State& state) const {
    const int counts[] = {state.limits.min_primitives, state.limits.max_primitives, state.limits.width, state.pushed,
                          state.primitives, state.weighted, state.group_count, state.system.variables};
    const uint64_t missing = moves_.missing(state);
    uint64_t hash = mix(mix(3, counts, sizeof counts), &missing, sizeof missing);
    hash = mix(hash, state.stack.data(), state.stack.size() * sizeof(int));
    for (const auto& node : state.nodes) {
        const int pattern = node.shape.pattern();
        hash = mix(hash, &pattern, sizeof pattern);
        for (int slot = 0; slot < 2 * kSlots; ++slot)
            if (node.shape.has(slot)) hash = mix(hash, &node.shape.sizes[slot], sizeof(Size));
        if (moves_.options.receptive_pixels > 1) hash = mix(hash, &node.field, sizeof node.field);
    }
    for (int v = 0; v < state.system.variables; ++v) hash = mix(hash, &state.system.witness[static_cast<size_t>(v)], sizeof(Size));
    for (const auto& constraint : state.system.constraints) {
        hash = mix(hash, &constraint.size, sizeof(Size));
        hash = mix(hash, &constraint.least, sizeof constraint.least);
    }
    for (const auto& volume : state.system.volumes) {
        hash = mix(hash, &volume.size, sizeof(Size));
        hash = mix(hash, &volume.most, sizeof volume.most);
    }
    for (int i = 0; i < kCosts; ++i) {
        hash = mix(hash, state.spent[i].data(), state.spent[i].size() * sizeof(double));
        if (state.system.variables && !state.spent[i].empty())
            hash = mix(hash, state.costs[i].data(), state.costs[i].size() * sizeof(Size));
    }
    return hash | 1;
}

// A lower bound of the primitives that finish the kernel: those that join the stack, and those that are required.
int Finisher::needed(const State& state) const {
    const auto& options = moves_.options;
    const uint64_t missing = moves_.missing(state);
    int unary = 0, binary = 0;
    uint64_t counted = 0;
    for (size_t i = 0; missing >> i; ++i) {
        if (!(missing >> i & 1)) continue;
        const uint64_t set = i < options.necessary.size() ? options.necessary[i] : options.bmm;
        if (set & counted) continue;  // one primitive may be of both sets
        counted |= set;
        (set & ~(routes_.joins | options.bmm) ? unary : binary) += 1;
    }
    const int joins = static_cast<int>(state.stack.size()) - 1;
    return std::max({unary + std::max(joins, binary), options.min_weighted - state.weighted, 1});
}

bool Finisher::search(const State& state, std::vector<int>* program) {
    if (moves_.ending(state) == Refusal::none) return true;
    const int remaining = state.remaining();
    if (remaining < needed(state)) return false;
    const uint64_t key = signature(state);
    const size_t place = key / 2 % kMemo;
    const Entry& entry = memo_[place];
    if (entry.key == key && (!entry.found || !program)) return entry.found;
    bool found = false;
    if (remaining == 1) {
        found = last(state, program);
    } else {
        found = guided(state, program) || (remaining <= exact_ && every(state, program));
    }
    memo_[place] = {key, found};
    return found;
}

bool Finisher::finishes(const State& after, int action, std::vector<int>* program) {
    if (!search(after, program)) return false;
    if (program) program->push_back(action);
    return true;
}

// One primitive remains: each is tried, one of a kind, also after a push.
bool Finisher::last(const State& state, std::vector<int>* program) {
    const int depth = static_cast<int>(state.stack.size());
    if (depth > 2) return false;
    std::optional<State> after;
    for (Table* table : moves_.tables(state, depth)) {
        for (int index : table->first) {
            const Recipe& recipe = table->recipes[static_cast<size_t>(index)];
            if (!could_end(state, recipe, depth)) continue;
            if (moves_.apply(state, recipe, depth, after) != Refusal::none) continue;
            if (moves_.ending(*after) != Refusal::none) continue;
            if (program) program->push_back(recipe.action);
            return true;
        }
    }
    if (depth == 2) return false;
    State pushed = state;
    pushed.pushed = true;
    pushed.stack.push_back(0);
    for (int tensor = 0; tensor < static_cast<int>(state.nodes.size()); ++tensor) {
        if (moves_.refused_push(state, tensor) != Refusal::none) continue;
        pushed.stack.back() = tensor;
        if (!last(pushed, program)) continue;
        if (program) program->push_back(moves_.first_push + tensor);
        return true;
    }
    return false;
}

// Whether a primitive may make a tensor as large as the output: a cheap look before it is applied.
bool Finisher::could_end(const State& state, const Recipe& recipe, int arity) {
    if (state.system.variables + recipe.fresh > 0 || !moves_.balanced(state, recipe, arity)) return true;
    return moves_.preview(state, recipe, arity, effect_, system_) == Refusal::none && effect_.shape.numel() == moves_.input.numel();
}

bool Finisher::every(const State& state, std::vector<int>* program) {
    std::optional<State> after;
    for (int arity = 1; arity <= std::min(2, static_cast<int>(state.stack.size())); ++arity) {
        for (Table* table : moves_.tables(state, arity)) {
            for (int index : table->first) {
                const Recipe& recipe = table->recipes[static_cast<size_t>(index)];
                if (moves_.apply(state, recipe, arity, after) != Refusal::none) continue;
                const State next = std::move(*after);
                if (finishes(next, recipe.action, program)) return true;
            }
        }
    }
    if (static_cast<int>(state.stack.size()) > state.remaining()) return false;
    for (int tensor = 0; tensor < static_cast<int>(state.nodes.size()); ++tensor)
        if (moves_.refused_push(state, tensor) == Refusal::none &&
            finishes(moves_.after_push(state, tensor), moves_.first_push + tensor, program))
            return true;
    return false;
}

// The first candidates that can be played, each followed to its end.
bool Finisher::guided(const State& state, std::vector<int>* program) {
    std::vector<int> actions;
    candidates(state, actions);
    int branches = state.remaining() <= kBranchingDepth ? kBranches : 1;
    std::vector<uint8_t> tried(static_cast<size_t>(actions_), 0);
    std::vector<int> kinds;
    for (int action : actions) {
        if (tried[static_cast<size_t>(action)]) continue;
        tried[static_cast<size_t>(action)] = 1;
        bool legal = false;
        if (follow(state, action, program, legal)) return true;
        if (legal && --branches == 0) return false;
    }
    return false;
}

bool Finisher::follow(const State& state, int action, std::vector<int>* program, bool& legal) {
    if (action >= moves_.first_push) {
        const int tensor = action - moves_.first_push;
        if (static_cast<int>(state.stack.size()) > state.remaining()) return false;
        if (moves_.refused_push(state, tensor) != Refusal::none) return false;
        legal = true;
        return finishes(moves_.after_push(state, tensor), action, program);
    }
    const Recipe* recipe = moves_.recipe(state, action);
    std::optional<State> after;
    if (!recipe || moves_.apply(state, *recipe, moves_.arity[static_cast<size_t>(action)], after) != Refusal::none) return false;
    legal = true;
    return finishes(*after, action, program);
}

// What to try next, best first.

void Finisher::candidates(const State& state, std::vector<int>& out) {
    const auto& options = moves_.options;
    const uint64_t missing = moves_.missing(state);
    if (missing || state.weighted < options.min_weighted) {
        uint64_t wanted = 0;
        for (size_t i = 0; i < options.necessary.size(); ++i)
            if (missing >> i & 1) wanted |= options.necessary[i];
        if (missing >> options.necessary.size() & 1) wanted |= options.bmm;
        toward_required(state, wanted, out);
    }
    if (state.stack.size() > 1) return join(state, out);
    if (state.top().shape.numel() != moves_.input.numel()) {
        append(out, routes_.to_channels);
        fold_to_size(state, out);
        bool there = false;
        fold_toward(state, moves_.input, out, there);
        if (there) out.push_back(moves_.first_push);
    }
    if (!moves_.reaches(state.top().field)) wider_field(state, out);
    append(out, routes_.keep_shape);
    if (routes_.joins || !routes_.bmm.empty()) out.push_back(moves_.first_push);
    append(out, routes_.weighted);
    append(out, routes_.change_shape);
}

void Finisher::toward_required(const State& state, uint64_t wanted, std::vector<int>& out) {
    auto of_family = [&](uint64_t families, uint64_t among) {
        for (size_t family = 0; family < routes_.family.size(); ++family)
            if (families & among & uint64_t{1} << family) append(out, routes_.family[family]);
    };
    if (state.weighted < moves_.options.min_weighted) {
        of_family(wanted, ~routes_.joins);
        append(out, routes_.weighted);
    }
    if (state.stack.size() > 1) {
        of_family(wanted, routes_.unary);
        of_family(wanted, ~uint64_t{0});
        return;
    }
    of_family(wanted, ~(routes_.joins | moves_.options.bmm));
    if (wanted & (routes_.joins | moves_.options.bmm)) out.push_back(moves_.first_push);
}

void Finisher::join(const State& state, std::vector<int>& out) {
    if (state.stack.back() == state.stack[state.stack.size() - 2]) {  // few primitives take a tensor twice
        append(out, routes_.bmm);
        append(out, routes_.keep_shape);
        append(out, routes_.weighted);
        append(out, routes_.change_shape);
    }
    const Shape &under = state.under().shape, &top = state.top().shape;
    int slots[2 * kSlots];
    const bool into_top = top == moves_.input || top.dims(slots) < under.dims(slots);
    append(out, into_top ? routes_.into_top : routes_.into_under);
    append(out, into_top ? routes_.into_under : routes_.into_top);
    bool there = false;
    fold_toward(state, under, out, there);
    append(out, routes_.bmm);
}

// Fold what makes the top as large as the output.
void Finisher::fold_to_size(const State& state, std::vector<int>& out) {
    const Shape& top = state.top().shape;
    const Size want = moves_.input.numel();
    for (int dims : fold_sets(top))
        if (folded(top, dims).numel() == want) return fold_first(top, dims, out);
}

// Fold the top until it can be broadcast to a target; `there` once it can.
void Finisher::fold_toward(const State& state, const Shape& target, std::vector<int>& out, bool& there) {
    if (!routes_.joins) {
        there = true;
        return;
    }
    int dims = 0;
    if (fewest_folds(state.top().shape, target, state.system.witness, false, &dims) == kImpossible) return;
    there = dims == 0;
    if (dims) fold_first(state.top().shape, dims, out);
}

// Fold the first of some dims, together with its pair where that is among them.
void Finisher::fold_first(const Shape& shape, int dims, std::vector<int>& out) {
    for (int wanted : {2, 3, 0, 4, 5, 1}) {  // KH, KW, G, H, W, C
        for (int slot = 0; slot < 2 * kSlots; ++slot) {
            if (!(dims >> slot & 1) || shape.name(slot) != wanted) continue;
            const int group = slot / kSlots, spatial = shape.spatial[group];
            const int pair = (spatial ? 3 : 12) << (group * kSlots);
            if (wanted >= 2 && (dims & pair) == pair) append(out, routes_.fold_pairs[static_cast<size_t>(2 * group + spatial)]);
            return append(out, routes_.folds[static_cast<size_t>(6 * group + wanted)]);
        }
    }
}

void Finisher::wider_field(const State& state, std::vector<int>& out) {
    append(out, routes_.wider[0]);
    const Field& field = state.top().field;
    const bool tall = field.bottom - field.top > field.right - field.left;
    append(out, routes_.wider[tall ? 2 : 1]);
    append(out, routes_.wider[tall ? 1 : 2]);
}

}  // namespace canvas
