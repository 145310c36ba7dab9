#include "finish.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace canvas {

namespace {

constexpr int kImpossible = 1 << 20;  // primitives
constexpr size_t kHomes = 1 << 16;
constexpr int kBranches = 2, kBranchingDepth = 5, kQuickBranchingDepth = 3;
constexpr int kSlack = 5;   // primitives beyond those needed that the search may take
constexpr int kOthers = 4;  // tensors off the stack, of different shapes, that the exact search may push
constexpr int kExactTensors = 6;  // with more tensors, the search is exact for the last primitive only

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

bool Finisher::can_finish(const State& state, std::vector<int>* plan) {
    if (plan) plan->clear();
    if (easily(state)) return true;
    State light = goal(state);
    const std::vector<int> places = light.places;
    const int made = light.made;
    std::iota(light.places.begin(), light.places.end(), 0);  // plans for states that look the same are the same
    light.made = static_cast<int>(light.nodes.size());
    light.frugal = false;
    const uint64_t key = signature(light, exact(light));
    Answer& answer = answers_[key / 2 % kAnswers];
    if (answer.key != key) {
        answer = {key, {}, {}, {}};
        answer.found = search(light, &answer.plan, answer.cost);
    }
    if (!answer.found) return false;  // not even without budgets
    std::vector<int> own;
    const std::vector<int>* program = &answer.plan;  // the last action first
    if (!fits(light, answer.cost)) {  // it is too dear
        light.frugal = true;
        program = &own;
        Cost cost;
        if (!search(light, plan ? &own : nullptr, cost)) return false;
    }
    if (!plan) return true;
    for (auto action = program->rbegin(); action != program->rend(); ++action) {
        const int tensor = *action - moves_.first_push, known = static_cast<int>(places.size());
        if (tensor < 0) {
            plan->push_back(*action);
        } else {
            plan->push_back(moves_.first_push + (tensor < known ? places[static_cast<size_t>(tensor)] : tensor - known + made));
        }
    }
    return true;
}

// Sets of dims to fold, those that cost the fewest primitives first, kernel dims before others.
std::vector<Finisher::FoldSet> Finisher::make_fold_sets(const Shape& shape) {
    static constexpr int rank[] = {2, 5, 0, 1, 3, 4};  // G, C, KH, KW, H, W
    int dims[2 * kSlots];
    const int count = shape.dims(dims);
    std::stable_sort(dims, dims + count, [&](int a, int b) { return rank[shape.name(a)] < rank[shape.name(b)]; });
    std::vector<FoldSet> sets;
    for (int chosen = 0; chosen < 1 << count; ++chosen) {
        int slots = 0;
        for (int i = 0; i < count; ++i)
            if (chosen >> i & 1) slots |= 1 << dims[i];
        Shape counted = shape;
        for (int group = 0; group < 2; ++group)
            counted.present[group] = static_cast<uint8_t>(slots >> (group * kSlots) & 15);
        sets.push_back({counted.folds(), slots});
    }
    std::stable_sort(sets.begin(), sets.end(), [](const FoldSet& a, const FoldSet& b) { return a.price < b.price; });
    return sets;
}

const std::vector<Finisher::FoldSet>& Finisher::fold_sets(const Shape& shape) {
    auto& sets = fold_sets_[static_cast<size_t>(shape.pattern())];
    if (sets.empty()) sets = make_fold_sets(shape);
    return sets;
}

// The fewest Fold primitives after which a shape can be broadcast to a target; `dims` becomes what to fold. A tensor
// can't join itself: `same` asks for one at least.
int Finisher::fewest_folds(const Shape& shape, const Shape& target, const Assignment& witness, bool same, int* dims) {
    const auto spreads = [&](int slots) {  // to the target, once these are folded
        const Shape left = slots ? folded(shape, slots) : shape;
        int prefix, suffix, a[2 * kSlots], b[2 * kSlots];
        align(left, target, prefix, suffix);
        const int n = left.dims(a), m = target.dims(b);
        Size quotient;
        for (int i = prefix; i < m - suffix; ++i) quotient *= target.sizes[b[i]];
        for (int i = prefix; i < n - suffix; ++i) quotient /= left.sizes[a[i]];
        return moves_.sites.at_least(substituted(quotient, witness), 1);
    };
    if (dims) *dims = 0;
    if (!same && spreads(0)) return 0;
    const uint64_t pair[] = {shape.hash(), target.hash()};
    uint64_t key = mix(17, pair, sizeof pair);
    if (shape.has_variables() || target.has_variables()) key = mix(key, &witness, sizeof witness);
    Folds& known = folds_[key % kFolds];
    if (known.key != key) {
        known = {key, kImpossible, 0};
        for (const auto& [price, slots] : fold_sets(shape)) {
            if (!slots || !spreads(slots)) continue;
            known = {key, price, slots};
            break;
        }
    }
    if (dims) *dims = known.slots;
    return known.count;
}

// Primitives that bring the lowest tensors of the stack home, once the one on top of them has joined them.
int Finisher::joins(const State& state, size_t left, const Assignment& witness) {
    int steps = 0;
    for (size_t i = left; i-- > 0;) {
        const Shape& target = i ? state.node(state.stack[i - 1]).shape : moves_.input;
        steps += fewest_folds(state.node(state.stack[i]).shape, target, witness, false) + 1;
    }
    return steps;
}

// Whether one join with the input on top of the lowest tensor brings it home.
bool Finisher::joins_input(const State& state, int top) {
    const int bottom = state.stack[0];
    return top == 0 && bottom != 0 && fewest_folds(state.node(bottom).shape, moves_.input, state.system->witness, false) == 0;
}

bool Finisher::easily(const State& state, const Landing& landing) { return easily(state, landing, false); }

// `joins_input`: the lowest tensor and the input on it are all there is, and the one joins the other.
bool Finisher::easily(const State& state, const Landing& landing, bool joins_input) {
    if (!routes_.joins || !routes_.folding || state.limits.width < 2) return false;
    int steps = 0;
    const Assignment& witness = landing.system.witness;
    if (joins_input) {
        steps = 1;
    } else if (landing.left) {
        const Shape& under = state.node(state.stack[landing.left - 1]).shape;
        steps = fewest_folds(landing.shape, under, witness, landing.same) + 1;
        if (steps < kImpossible) steps += joins(state, landing.left, witness);
    } else if (landing.same || !(landing.shape == moves_.input)) {
        steps = fewest_folds(landing.shape, moves_.input, witness, landing.same) + 1;
    }
    Tally reached = landing.tally;
    reached.primitives += steps;
    if (reached.primitives >= state.limits.max_primitives) return false;
    bool reaches = moves_.reaches(landing.field);
    for (size_t i = 0; i < landing.left && !reaches; ++i) reaches = moves_.reaches(state.node(state.stack[i]).field);
    const Home& rest = home_in_time(state.limits, reached, reaches, landing.system);
    return rest.found && (!moves_.options.budgets() || affordable(state, landing, steps, rest.cost));
}

bool Finisher::easily(const State& state) {
    const Node& top = state.top();
    const size_t left = state.stack.size() - 1;
    const bool same = left ? state.stack[left - 1] == state.stack[left] : state.stack[0] == 0;
    const Landing landing{top.shape, top.numel, top.field, *state.system, state.bill.get(), left, same, state.tally};
    return easily(state, landing, left == 1 && joins_input(state, state.stack[1]));
}

bool Finisher::easily_after_push(const State& state, int tensor) {
    const Node& node = state.node(tensor);
    const size_t left = state.stack.size();
    const bool same = tensor == state.stack.back();
    const Landing landing{node.shape, node.numel, node.field, *state.system, state.bill.get(), left, same, state.tally};
    return easily(state, landing, left == 1 && joins_input(state, tensor));
}

// Primitives that the shortest length and the share of weighted ones still ask for.
int Finisher::still_due(const Limits& limits, const Tally& tally) const {
    const int lightest = static_cast<int>(std::ceil(tally.weighted / moves_.options.weighted_ratio - 1e-9));
    return std::max({0, limits.min_primitives - tally.primitives, lightest - tally.primitives});
}

// Whether the budgets allow the way home and what is left to do there.
bool Finisher::affordable(const State& state, const Landing& landing, int steps, const Cost& rest) {
    const Assignment& witness = landing.system.witness;
    Values elements{};  // made on the way, which is also what folds and joins take of FLOPs
    const auto spend = [&](const Size& numel, int times) {
        if (!times) return;
        Values once{};
        moves_.sites.add(substituted(numel, witness), once);
        for (int site = 0; site < moves_.sites.count(); ++site) elements[static_cast<size_t>(site)] += times * once[static_cast<size_t>(site)];
    };
    const bool home = !landing.left && !landing.same && landing.shape == moves_.input;
    const Shape* shape = &landing.shape;
    const Size* numel = &landing.numel;
    bool same = landing.same;
    if (landing.left && steps == 1) {
        spend(moves_.input_numel, 1);
    } else {
        for (size_t left = landing.left; !home; --left) {
            const Node* under = left ? &state.node(state.stack[left - 1]) : nullptr;
            spend(*numel, fewest_folds(*shape, under ? under->shape : moves_.input, witness, same));
            spend(under ? under->numel : moves_.input_numel, 1);
            if (!left) break;
            shape = &under->shape;
            numel = &under->numel;
            same = false;
        }
    }
    for (int i = 0; i < kCosts; ++i) {
        const auto& caps = moves_.options.caps[i];
        for (size_t site = 0; site < caps.size(); ++site) {
            const double most = rest.of[i] > 0 ? caps[site] * (1 - rest.of[i]) : caps[site];
            if (!(landing.bill->spent[i][site] + (i == 1 ? 0 : elements[site]) <= most)) return false;
        }
    }
    return true;
}

// Whether, and how, a kernel that is home with such a tally can end in time with what is required.
const Finisher::Home& Finisher::home_in_time(const Limits& limits, const Tally& tally, bool reaches, const System& system) {
    const int variables = system.variables + system.hidden;
    const int parts[] = {tally.primitives,       tally.weighted,        tally.group_count, reaches, variables,
                         limits.min_primitives, limits.max_primitives, limits.width > 1};
    const uint64_t missing = moves_.missing(limits, tally.families);
    const uint64_t key = mix(mix(1, parts, sizeof parts), &missing, sizeof missing);
    const auto known = homes_.find(key);
    if (known != homes_.end()) return known->second;
    Home made;
    State start = home(limits, tally, reaches);
    auto taken = std::make_shared<System>();
    taken->hidden = variables;
    start.system = std::move(taken);
    made.found = search(start, &made.plan, made.cost);
    std::reverse(made.plan.begin(), made.plan.end());
    if (homes_.size() >= kHomes) homes_.clear();
    return homes_[key] = std::move(made);
}

State Finisher::home(const Limits& limits, const Tally& tally, bool reaches) const {
    State home = moves_.start(limits).lighter(moves_.options.budgets());
    home.frugal = false;
    home.tally = tally;
    Node node = home.node(0);
    constexpr int32_t everywhere = 1 << 20;
    if (reaches) node.field = {-everywhere, everywhere, -everywhere, everywhere};
    home.nodes.push_back(std::make_shared<Node>(node));
    home.places = {0, 1};
    home.made = 2;
    home.stack = {1};
    return home;
}

int Finisher::homeward(const State& state) {
    if (!easily(state)) return -1;
    const size_t depth = state.stack.size();
    const int bottom = state.stack[0];
    std::vector<int> actions;
    if (depth == 1 && bottom != 0 && state.top().shape == moves_.input) {
        const bool reaches = moves_.reaches(state.top().field);
        const Home& rest = home_in_time(state.limits, state.tally, reaches, *state.system);
        if (rest.plan.empty()) return -1;
        const int first = rest.plan[0];
        return first > moves_.first_push ? moves_.first_push + bottom : first;
    }
    int dims = 0;
    if (depth == 2 && joins_input(state, state.stack[1])) {
        append(actions, routes_.into_top);
    } else {
        const bool same = depth > 1 ? state.stack[depth - 2] == state.stack.back() : bottom == 0;
        const Shape& target = depth > 1 ? state.under().shape : moves_.input;
        fewest_folds(state.top().shape, target, state.system->witness, same, &dims);
        if (dims) {
            fold_first(state.top().shape, dims, actions);
        } else if (depth == 1) {
            return moves_.first_push;
        } else {
            append(actions, routes_.into_under);
        }
    }
    const State light = state.lighter(moves_.options.budgets());
    std::optional<State> after;
    for (int action : actions) {
        const Recipe* recipe = moves_.recipe(state, action);
        if (recipe && moves_.apply(light, *recipe, moves_.arity[static_cast<size_t>(action)], after) == Refusal::none && easily(*after))
            return action;
    }
    return -1;
}

// The search: guided by routes far from the end, exact for the last primitives.

bool Finisher::exact(const State& state) const {
    return state.remaining() <= (state.thorough ? exact_ : 1);
}

// A state with all that the search needs and nothing else: states that differ in the rest share its answers.
State Finisher::goal(const State& state) const {
    State light = state.lighter(moves_.options.budgets());
    const int due = still_due(state.limits, state.tally);
    const int most = state.tally.primitives + std::max(due, needed(state) + kSlack);
    light.limits.max_primitives = std::min(light.limits.max_primitives, most);
    light.thorough = light.made <= kExactTensors;
    trim(light, exact(light) ? kOthers : 0);
    if (light.system->variables) hide_variables(light);
    return light;
}

// Leaves out the tensors that are not on the stack, but for the input and so many others of different shapes.
void Finisher::trim(State& light, int others) {
    std::vector<Tensor> nodes{light.nodes[0]};
    std::vector<int> places{light.places[0]}, moved(light.nodes.size(), -1);
    moved[0] = 0;
    auto keep = [&](size_t tensor) {
        moved[tensor] = static_cast<int>(nodes.size());
        nodes.push_back(light.nodes[tensor]);
        places.push_back(light.places[tensor]);
    };
    for (int& tensor : light.stack) {
        const auto index = static_cast<size_t>(tensor);
        if (moved[index] < 0) keep(index);
        tensor = moved[index];
    }
    for (size_t tensor = light.nodes.size(); tensor-- > 0 && others > 0;) {
        if (moved[tensor] >= 0) continue;
        const Node& node = *light.nodes[tensor];
        const bool known = std::any_of(nodes.begin(), nodes.end(), [&](const Tensor& kept) {
            return kept->key == node.key && std::memcmp(&kept->field, &node.field, sizeof(Field)) == 0;
        });
        if (known) continue;
        keep(tensor);
        --others;
    }
    light.nodes = std::move(nodes);
    light.places = std::move(places);
}

// Drops free sizes that no tensor left depends on, and closes the gaps; the others keep their order.
void Finisher::hide_variables(State& light) {
    const System& system = *light.system;
    Variables used = 0;
    for (const auto& tensor : light.nodes)
        for (const Size& size : tensor->shape.sizes) used |= size.variables();
    if (light.bill)
        for (const auto& terms : light.bill->open)
            for (const Size& size : terms) used |= size.variables();
    for (Variables before = 0; before != used;) {
        before = used;
        for (const auto& constraint : system.constraints)
            if (constraint.size.variables() & used) used |= constraint.size.variables();
        for (const auto& volume : system.volumes)
            if (volume.size.variables() & used) used |= volume.size.variables();
    }
    if (used == (1u << system.variables) - 1) return;
    int place[kVariables] = {}, count = 0;
    for (int v = 0; v < system.variables; ++v) place[v] = used >> v & 1 ? count++ : -1;
    const auto moved = [&](const Size& size) {
        if (!size.has_variables()) return size;
        Size result = size;
        for (int v = 0; v < kVariables; ++v) result.e[static_cast<size_t>(v)] = 0;
        for (int v = 0; v < system.variables; ++v)
            if (place[v] >= 0) result.e[static_cast<size_t>(place[v])] = size.e[static_cast<size_t>(v)];
        return result;
    };
    auto kept = std::make_shared<System>();
    kept->variables = count;
    kept->hidden = system.hidden + system.variables - count;
    for (int v = 0; v < system.variables; ++v)
        if (place[v] >= 0) kept->witness[static_cast<size_t>(place[v])] = system.witness[static_cast<size_t>(v)];
    for (const auto& constraint : system.constraints)
        if (constraint.size.variables() & used) kept->constraints.push_back({moved(constraint.size), constraint.least});
    for (const auto& volume : system.volumes)
        if (volume.size.variables() & used) kept->volumes.push_back({moved(volume.size), volume.most});
    light.system = std::move(kept);
    for (auto& tensor : light.nodes) {
        if (!tensor->shape.has_variables()) continue;
        Node node = *tensor;
        for (Size& size : node.shape.sizes) size = moved(size);
        node.shaped();
        tensor = std::make_shared<Node>(std::move(node));
    }
    if (!light.bill) return;
    auto bill = std::make_shared<Bill>(*light.bill);
    for (auto& terms : bill->open)
        for (Size& size : terms) size = moved(size);
    light.bill = std::move(bill);
}

Finisher::Cost Finisher::between(const State& before, const State& after) const {
    Cost cost;
    if (!before.bill) return cost;
    for (int i = 0; i < kCosts; ++i) {
        const auto& caps = moves_.options.caps[i];
        for (size_t site = 0; site < caps.size(); ++site) {
            const double more = after.bill->spent[i][site] - before.bill->spent[i][site];
            if (more > 0) cost.of[i] = std::max(cost.of[i], static_cast<float>(1.000001 * more / caps[site]));
        }
    }
    return cost;
}

bool Finisher::fits(const State& state, const Cost& cost) const {
    if (!state.bill) return true;
    for (int i = 0; i < kCosts; ++i) {
        const auto& caps = moves_.options.caps[i];
        for (size_t site = 0; site < caps.size(); ++site)
            if (cost.of[i] > 0 && !(state.bill->spent[i][site] + cost.of[i] * caps[site] <= caps[site])) return false;
    }
    return true;
}

// What the answer of the search depends on; `pushes`: whether tensors off the stack do.
uint64_t Finisher::signature(const State& state, bool pushes) const {
    const auto& options = moves_.options;
    const int remaining = state.remaining();
    const int most_weighted = std::min(remaining, options.most_weighted - state.tally.weighted);
    const bool ratio = state.tally.weighted + most_weighted > options.weighted_ratio * (state.tally.primitives + most_weighted);
    const size_t depth = state.stack.size();
    const int counts[] = {static_cast<int>(depth),
                          state.stack.back() == 0,
                          depth > 1 && state.stack[depth - 2] == state.stack.back(),
                          std::max(0, state.limits.min_primitives - state.tally.primitives),
                          remaining,
                          std::max(0, options.min_weighted - state.tally.weighted),
                          most_weighted,
                          ratio ? state.tally.primitives : -1,
                          ratio ? state.tally.weighted : -1,
                          state.limits.width,
                          state.pushed + 2 * state.frugal + 4 * state.thorough + 8 * pushes,
                          state.tally.group_count,
                          state.system->variables,
                          state.system->hidden,
                          static_cast<int>(state.system->constraints.size())};
    const uint64_t missing = moves_.missing(state);
    uint64_t hash = mix(mix(3, counts, sizeof counts), &missing, sizeof missing);
    const auto add = [&](const Node& node) {
        hash = mix(hash, &node.key, sizeof node.key);
        if (options.receptive_pixels > 1) hash = mix(hash, &node.field, sizeof node.field);
    };
    for (int tensor : state.stack) add(state.node(tensor));
    if (pushes) {
        hash = mix(hash, state.stack.data(), depth * sizeof(int));
        for (const auto& tensor : state.nodes) add(*tensor);
    }
    const System& system = *state.system;
    if (system.variables) {
        hash = mix(hash, system.witness.data(), static_cast<size_t>(system.variables) * sizeof(Size));
        for (const auto& constraint : system.constraints) {
            hash = mix(hash, &constraint.size, sizeof(Size));
            hash = mix(hash, &constraint.least, sizeof constraint.least);
        }
        for (const auto& volume : system.volumes) {
            hash = mix(hash, &volume.size, sizeof(Size));
            hash = mix(hash, &volume.most, sizeof volume.most);
        }
    }
    if (state.bill) {
        for (int i = 0; i < kCosts; ++i) {
            if (options.caps[i].empty()) continue;
            if (system.variables)
                hash = mix(hash, state.bill->open[i].data(), state.bill->open[i].size() * sizeof(Size));
            if (state.frugal) hash = mix(hash, state.bill->spent[i].data(), state.bill->spent[i].size() * sizeof(double));
        }
    }
    return hash | 1;  // 0 is an empty place
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
    return std::max({unary + std::max(joins, binary), options.min_weighted - state.tally.weighted, 1});
}

bool Finisher::search(const State& state, std::vector<int>* program, Cost& cost) {
    cost = {};
    if (state.bill && state.system->variables) {
        State ended;
        if (moves_.ending(state, &ended) == Refusal::none) {
            cost = between(state, ended);
            return true;
        }
    } else if (moves_.ending(state) == Refusal::none) {
        return true;
    }
    const int remaining = state.remaining();
    if (remaining < needed(state)) return false;
    const bool pushes = exact(state) && !(remaining == 1 && state.stack.size() == 2);
    const uint64_t key = signature(state, pushes);
    const size_t place = key / 2 % kMemo;
    const Entry& entry = memo_[place];
    if (entry.key == key && (!entry.found || !program)) {
        cost = entry.cost;
        return entry.found;
    }
    bool found = false;
    if (remaining == 1) {
        found = last(state, program, cost);
    } else {
        found = guided(state, program, cost) || (exact(state) && every(state, program, cost)) || sooner(state, program, cost);
    }
    memo_[place] = {key, found, cost};
    return found;
}

// Whether the kernel can be finished by the few primitives that the search is exact for, though more would fit.
bool Finisher::sooner(const State& state, std::vector<int>* program, Cost& cost) {
    const int most = state.tally.primitives + exact_;
    if (state.limits.max_primitives <= most || most < state.limits.min_primitives) return false;
    State shorter = state;
    shorter.limits.max_primitives = most;
    return search(shorter, program, cost);
}

bool Finisher::finishes(const State& state, const State& after, int action, std::vector<int>* program, Cost& cost) {
    if (!search(after, program, cost)) return false;
    if (program) program->push_back(action);
    cost.add(between(state, after));
    return true;
}

// One primitive remains: each is tried, also after a push.
bool Finisher::last(const State& state, std::vector<int>* program, Cost& cost) {
    const size_t depth = state.stack.size();
    if (depth == 2) return ends_with_one(state, program, cost);
    if (depth > 2) return false;
    const uint64_t key = signature(state, false);
    Entry& entry = memo_[key / 2 % kMemo];
    if (entry.key != key || program) {
        const bool found = ends_with_one(state, program, cost);
        entry = {key, found, cost};
    }
    if (entry.found) {
        cost = entry.cost;
        return true;
    }
    return every_push(state, program, cost);
}

// Whether one primitive on all tensors of the stack finishes the kernel; one of each kind is tried.
bool Finisher::ends_with_one(const State& state, std::vector<int>* program, Cost& cost) {
    const int arity = static_cast<int>(state.stack.size());
    const bool open = state.system->variables > 0;
    for (Table* table : moves_.tables(state, arity)) {
        const Inputs straight = moves_.inputs(state, arity, false, table->view);
        const Inputs swapped = moves_.inputs(state, arity, true, table->view);
        for (int index : table->first) {
            const Recipe& recipe = table->recipes[static_cast<size_t>(index)];
            if (moves_.full(state, arity, recipe.weighted) != Refusal::none) continue;
            const Inputs& inputs = recipe.swapped ? swapped : straight;
            if (state.system->variables + recipe.fresh <= kVariables) {  // a cheap look at the size that would come out
                const bool balanced = moves_.balanced(recipe, inputs);
                if (!balanced && !open) continue;
                const Size ratio = recipe.numel.at(inputs.at) / moves_.input_numel;
                if (balanced && ratio != Size{} && !ratio.has_variables()) continue;
            }
            std::optional<State> after;
            if (moves_.apply(state, recipe, arity, after) != Refusal::none) continue;
            if (!search(*after, nullptr, cost)) continue;
            cost.add(between(state, *after));
            if (program) program->push_back(recipe.action);
            return true;
        }
    }
    return false;
}

bool Finisher::every(const State& state, std::vector<int>* program, Cost& cost) {
    std::optional<State> after;
    for (int arity = 1; arity <= std::min(2, static_cast<int>(state.stack.size())); ++arity) {
        for (Table* table : moves_.tables(state, arity)) {
            for (int index : table->first) {
                const Recipe& recipe = table->recipes[static_cast<size_t>(index)];
                if (moves_.apply(state, recipe, arity, after) != Refusal::none) continue;
                const State next = std::move(*after);
                if (finishes(state, next, recipe.action, program, cost)) return true;
            }
        }
    }
    return static_cast<int>(state.stack.size()) <= state.remaining() && every_push(state, program, cost);
}

bool Finisher::every_push(const State& state, std::vector<int>* program, Cost& cost) {
    for (int tensor = 0; tensor < static_cast<int>(state.nodes.size()); ++tensor) {
        const int action = moves_.first_push + state.places[static_cast<size_t>(tensor)];
        if (moves_.refused_push(state, tensor) == Refusal::none &&
            finishes(state, moves_.after_push(state, tensor), action, program, cost))
            return true;
    }
    return false;
}

// The first candidates that can be played, each followed to its end.
bool Finisher::guided(const State& state, std::vector<int>* program, Cost& cost) {
    std::vector<int> actions;
    candidates(state, actions);
    int branches = state.remaining() <= (state.thorough ? kBranchingDepth : kQuickBranchingDepth) ? kBranches : 1;
    std::vector<uint8_t> tried(static_cast<size_t>(actions_), 0);
    for (int action : actions) {
        if (tried[static_cast<size_t>(action)]) continue;
        tried[static_cast<size_t>(action)] = 1;
        bool legal = false;
        if (follow(state, action, program, cost, legal)) return true;
        if (legal && --branches == 0) return false;
    }
    return false;
}

bool Finisher::follow(const State& state, int action, std::vector<int>* program, Cost& cost, bool& legal) {
    std::optional<State> after;
    if (action == moves_.first_push) {
        if (static_cast<int>(state.stack.size()) > state.remaining()) return false;
        if (moves_.refused_push(state, 0) != Refusal::none) return false;
        after = moves_.after_push(state, 0);
    } else {
        const Recipe* recipe = moves_.recipe(state, action);
        if (!recipe || moves_.apply(state, *recipe, moves_.arity[static_cast<size_t>(action)], after) != Refusal::none) return false;
        if (!exact(state)) trim(*after, 0);
    }
    legal = true;
    const State next = std::move(*after);
    return finishes(state, next, action, program, cost);
}

// What to try next, best first.

void Finisher::candidates(const State& state, std::vector<int>& out) {
    const auto& options = moves_.options;
    const uint64_t missing = moves_.missing(state);
    if (missing || state.tally.weighted < options.min_weighted) {
        uint64_t wanted = 0;
        for (size_t i = 0; i < options.necessary.size(); ++i)
            if (missing >> i & 1) wanted |= options.necessary[i];
        if (missing >> options.necessary.size() & 1) wanted |= options.bmm;
        toward_required(state, wanted, out);
    }
    if (state.stack.size() > 1) return join(state, out);
    if (state.top().numel != moves_.input_numel) {
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
    if (state.tally.weighted < moves_.options.min_weighted) {
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
    const Size want = moves_.input_numel;
    for (const auto& [price, dims] : fold_sets(top))
        if (folded(top, dims).numel() == want) return fold_first(top, dims, out);
}

// Fold the top until it can be broadcast to a target; `there` once it can.
void Finisher::fold_toward(const State& state, const Shape& target, std::vector<int>& out, bool& there) {
    if (!routes_.joins) {
        there = true;
        return;
    }
    int dims = 0;
    if (fewest_folds(state.top().shape, target, state.system->witness, false, &dims) == kImpossible) return;
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
