// The Python interface: `canvas_rl.space._core`.

#include <pybind11/numpy.h>

#include <chrono>

#include "algebra.hpp"
#include "fill.hpp"
#include "legality.hpp"

namespace canvas {

namespace {

using StatePointer = std::shared_ptr<const State>;

class Core {
   public:
    Core(const py::dict& config, const py::object& tracer)
        : algebra_(config["sites"].cast<std::vector<std::array<long, 3>>>(), config["spatial_fixed"].cast<bool>(),
                   config["make_size"]),
          book_(rules(tracer), options(config).budgets(),
                !options(config).necessary.empty() || config["bmm_matters"].cast<bool>(),
                options(config).receptive_pixels > 1),
          actions_(action_set(config)),
          moves_(algebra_.sites(), book_, options(config), input(config), config["arity"].cast<std::vector<int>>(), views(config)),
          finisher_(moves_, routes(config["routes"].cast<py::dict>()), actions_.size(), config["exact"].cast<int>()) {}

    StatePointer start(const Limits& limits) { return std::make_shared<State>(moves_.start(limits)); }
    bool can_finish(const StatePointer& state) { return finisher_.can_finish(*state); }

    py::array_t<bool> mask(const StatePointer& state) {
        py::array_t<bool> out(actions_.size());
        legality(state).mask(reinterpret_cast<uint8_t*>(out.mutable_data()));
        return out;
    }
    Refusal refusal(const StatePointer& state, int action) { return legality(state).refusal(action); }
    int draw(const StatePointer& state, uint64_t seed) {
        Random random(seed);
        return legality(state).draw(random);
    }
    // The state after an action, None if it is illegal.
    StatePointer step(const StatePointer& state, int action) {
        if (legality(state).refusal(action) != Refusal::none) return nullptr;
        return taken(action);
    }
    // The state after an action that the rules allow, whether or not it makes sense or can be finished; else None.
    StatePointer move(const StatePointer& state, int action) {
        if (state->done()) return nullptr;
        std::optional<State> after;
        if (actions_.is_push(action)) {
            const int tensor = action - actions_.templates;
            if (moves_.refused_push(*state, tensor) != Refusal::none) return nullptr;
            after = moves_.after_push(*state, tensor);
        } else if (actions_.is_output(action)) {
            after.emplace();
            const int level = action - actions_.templates - actions_.pushes;
            if (moves_.ending(*state, &*after) != Refusal::none || (level > 0 && after->system->variables == 0)) return nullptr;
            after->fill = level;
            after->program.push_back(action);
            finish(*after);
        } else {
            const Recipe* recipe = moves_.recipe(*state, action);
            const int arity = moves_.arity[static_cast<size_t>(action)];
            if (!recipe || moves_.apply(*state, *recipe, arity, after) != Refusal::none) return nullptr;
        }
        return std::make_shared<State>(std::move(*after));
    }
    // A program played at random: the last state, and whether it is the end rather than a dead end or, with `seconds`
    // above 0, where these have passed.
    std::pair<StatePointer, bool> play(StatePointer state, uint64_t seed, double seconds) {
        Random random(seed);
        const auto start = std::chrono::steady_clock::now();
        while (!state->done()) {
            if (seconds > 0 && std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > seconds)
                return {state, false};
            const int action = legality(state).draw(random);
            if (action < 0) return {state, false};
            state = taken(action);
        }
        return {state, true};
    }
    // The recipe of a template on top of the stack (-1: an output), and its operands' patterns and facts; under, then top.
    std::pair<int, std::array<int, 4>> operands(const StatePointer& state, int action) {
        if (actions_.is_output(action)) return {-1, parts(Moves::operands(*state, 1))};
        const Recipe* recipe = moves_.recipe(*state, action);
        if (!recipe) throw py::value_error("the template does not apply");
        return {recipe->id, parts(Moves::operands(*state, moves_.arity[static_cast<size_t>(action)]))};
    }

    // For each tensor but the input: recipe, operands (under, top; -1 where absent), kinds of the groups, sizes of
    // the eight slots (None where absent), free sizes that it introduced.
    py::list nodes(const StatePointer& state) {
        py::list out;
        for (const auto& tensor : state->nodes) {
            const Node& node = *tensor;
            if (node.recipe < 0) continue;
            py::list fresh;
            for (const Size& own : node.fresh) fresh.append(size(own));
            const py::tuple shape = described(node.shape);
            out.append(py::make_tuple(node.recipe, node.under, node.top, shape[0], shape[1], fresh));
        }
        return out;
    }
    // The shapes on top of the stack, from the top, as bytes that tell them apart.
    py::list shape_keys(const StatePointer& state, int count) {
        py::list keys;
        for (auto at = state->stack.rbegin(); at != state->stack.rend() && count-- > 0; ++at) {
            const Shape& shape = state->node(*at).shape;
            keys.append(py::bytes(reinterpret_cast<const char*>(&shape), sizeof shape));
        }
        return keys;
    }
    py::tuple shape(const StatePointer& state, size_t depth) {
        return described(state->node(state->stack.at(state->stack.size() - 1 - depth)).shape);
    }
    py::list witness(const StatePointer& state) {
        py::list out;
        for (int v = 0; v < state->system->variables; ++v) out.append(size(state->system->witness[static_cast<size_t>(v)]));
        return out;
    }
    py::list constraints(const StatePointer& state) {
        py::list out;
        for (const auto& constraint : state->system->constraints) out.append(py::make_tuple(size(constraint.size), constraint.least));
        return out;
    }

    // Of each cost with a budget, the greatest share of a site's cap that is spent.
    std::vector<double> spent(const StatePointer& state) const {
        std::vector<double> shares;
        for (size_t i = 0; i < kCosts; ++i) {
            const auto& caps = moves_.options.caps[i];
            if (caps.empty()) continue;
            double most = 0;
            for (size_t site = 0; site < caps.size(); ++site) most = std::max(most, state->bill->spent[i][site] / caps[site]);
            shares.push_back(most);
        }
        return shares;
    }

    size_t tables() const { return book_.tables(); }

   private:
    Legality& legality(const StatePointer& state) {
        if (latest_ != state) {
            legality_ = std::make_unique<Legality>(actions_, moves_, finisher_, *state);
            latest_ = state;
        }
        return *legality_;
    }
    StatePointer taken(int action) {
        auto next = std::make_shared<State>(legality_->after(action));
        if (next->done()) finish(*next);
        return next;
    }
    // Chooses the free sizes of a program that has ended.
    void finish(State& state) {
        const Assignment values = fill(moves_, state, actions_.levels[static_cast<size_t>(state.fill)]);
        for (auto& tensor : state.nodes) {
            Node node = *tensor;
            for (auto& own : node.shape.sizes) own = substituted(own, values);
            for (auto& own : node.fresh) own = substituted(own, values);
            node.shaped();
            tensor = std::make_shared<Node>(std::move(node));
        }
    }

    py::object size(const Size& value) { return algebra_.size(value); }
    // The kinds of a shape's groups and the sizes of its slots, None where absent.
    py::tuple described(const Shape& shape) {
        py::tuple sizes(2 * kSlots);
        for (int slot = 0; slot < 2 * kSlots; ++slot)
            sizes[static_cast<size_t>(slot)] = shape.has(slot) ? size(shape.sizes[slot]) : py::none();
        return py::make_tuple(py::make_tuple(shape.spatial[0] != 0, shape.spatial[1] != 0), sizes);
    }
    static void frame(Shape& shape, int pattern) {
        shape.spatial[0] = static_cast<uint8_t>(pattern >> 9 & 1);
        shape.present[0] = static_cast<uint8_t>(pattern >> 5 & 15);
        shape.spatial[1] = static_cast<uint8_t>(pattern >> 4 & 1);
        shape.present[1] = static_cast<uint8_t>(pattern & 15);
    }
    Recipe recipe(const py::handle& data) {
        Recipe made;
        made.id = data.attr("id").cast<int>();
        made.rule = data.attr("rule").cast<size_t>();
        made.action = data.attr("action").cast<int>();
        made.family = data.attr("family").cast<int>();
        made.weighted = data.attr("weighted").cast<bool>();
        made.twin = data.attr("twin").cast<bool>();
        made.swapped = data.attr("swapped").cast<bool>();
        made.group_count = data.attr("group_count").cast<int>();
        made.fresh = data.attr("fresh").cast<int>();
        const auto offset = data.attr("offset").cast<std::array<int, 4>>();
        made.offset = {offset[0], offset[1], offset[2], offset[3]};
        frame(made.frame, data.attr("pattern").cast<int>());
        for (const auto& item : data.attr("dims")) {
            Recipe::Dim dim{item[py::int_(0)].cast<int>(), -1, algebra_.traced(item[py::int_(1)])};
            const auto& terms = dim.size.terms;
            if (terms.size() == 1 && terms[0].second == 1 && terms[0].first < kInputs && dim.size.coefficient == Size{})
                dim.copy = terms[0].first;
            made.dims.push_back(std::move(dim));
        }
        for (const auto& item : data.attr("constraints"))
            made.constraints.emplace_back(algebra_.traced(item[py::int_(0)]), item[py::int_(1)].cast<double>());
        for (const auto& item : data.attr("weights")) made.weights.push_back(algebra_.traced(item));
        for (const auto& item : data.attr("flops")) made.flops.push_back(algebra_.traced(item));
        const auto copies = data.attr("copies").cast<std::pair<int, int>>();
        made.copies[0] = copies.first;
        made.copies[1] = copies.second;
        const py::object equation = data.attr("equation");
        if (!equation.is_none()) {
            made.has_equation = true;
            made.left = algebra_.traced(equation[py::int_(0)]);
            made.right = algebra_.traced(equation[py::int_(1)]);
        }
        return made;
    }
    std::vector<Recipe> recipes(const py::object& listed) {
        std::vector<Recipe> made;
        for (const auto& data : listed) made.push_back(recipe(data));
        return made;
    }
    static std::array<int, 4> parts(const Operands& operands) {
        return {operands.under_pattern, operands.top_pattern, operands.under_facts, operands.top_facts};
    }
    Rules rules(const py::object& tracer) {
        return {
            [this, ask = tracer.attr("unary")](int pattern) { return recipes(ask(pattern)); },
            [this, ask = tracer.attr("binary")](View view, int under, int top, int prefix, int suffix, bool same) {
                return recipes(ask(static_cast<int>(view), under, top, prefix, suffix, same));
            },
            [ask = tracer.attr("values")](int facts) { return ask(facts).cast<std::vector<uint16_t>>(); },
            [ask = tracer.attr("pointless")](const std::vector<int>& ids, const Operands& operands) {
                return ask(ids, parts(operands)).cast<std::vector<Answer>>();
            },
            [ask = tracer.attr("pointless_output")](int pattern, int facts) { return ask(pattern, facts).cast<Answer>(); },
            [ask = tracer.attr("facts")](int id, const Operands& operands) { return ask(id, parts(operands)).cast<Answer>(); },
        };
    }
    static std::vector<View> views(const py::dict& config) {
        std::vector<View> made;
        for (int view : config["view"].cast<std::vector<int>>()) made.push_back(static_cast<View>(view));
        return made;
    }
    static Options options(const py::dict& config) {
        Options made;
        made.min_weighted = config["min_weighted"].cast<int>();
        made.most_weighted = config["most_weighted"].cast<int>();
        made.weighted_ratio = config["weighted_ratio"].cast<double>();
        made.receptive_pixels = config["receptive_pixels"].cast<double>();
        made.largest_activation = config["largest_activation"].cast<double>();
        made.largest_weight = config["largest_weight"].cast<double>();
        const auto caps = config["caps"].cast<std::vector<std::vector<double>>>();
        for (size_t i = 0; i < kCosts; ++i) made.caps[i] = caps[i];
        const auto width_caps = config["width_caps"].cast<std::vector<std::vector<double>>>();
        for (size_t i = 0; i < 2; ++i) made.width_caps[i] = width_caps[i];
        made.necessary = config["necessary"].cast<std::vector<uint64_t>>();
        made.bmm = config["bmm"].cast<uint64_t>();
        return made;
    }
    static Shape input(const py::dict& config) {
        Shape shape;
        frame(shape, config["input_pattern"].cast<int>());
        shape.sizes[1] = unit(kChannels);
        if (shape.has(kSlots)) shape.sizes[kSlots] = unit(kHeight);
        if (shape.has(kSlots + 1)) shape.sizes[kSlots + 1] = unit(kWidth);
        return shape;
    }
    static ActionSet action_set(const py::dict& config) {
        ActionSet made;
        made.family = config["family"].cast<std::vector<int>>();
        made.levels = config["levels"].cast<std::vector<double>>();
        made.templates = static_cast<int>(config["arity"].cast<std::vector<int>>().size());
        made.pushes = config["pushes"].cast<int>();
        for (size_t action = 0; action < made.family.size(); ++action) {
            const auto family = static_cast<size_t>(made.family[action]);
            if (made.members.size() <= family) made.members.resize(family + 1);
            made.members[family].push_back(static_cast<int>(action));
        }
        return made;
    }
    static Routes routes(const py::dict& lists) {
        auto list = [&](const char* name) { return lists[name].cast<std::vector<int>>(); };
        Routes made;
        made.into_top = list("into_top");
        made.into_under = list("into_under");
        made.bmm = list("bmm");
        made.keep_shape = list("keep_shape");
        made.change_shape = list("change_shape");
        made.weighted = list("weighted");
        made.to_channels = list("to_channels");
        const auto wider = lists["wider"].cast<std::vector<std::vector<int>>>();
        for (size_t i = 0; i < 3; ++i) made.wider[i] = wider[i];
        made.folds = lists["folds"].cast<std::vector<std::vector<int>>>();
        made.fold_pairs = lists["fold_pairs"].cast<std::vector<std::vector<int>>>();
        made.family = lists["family"].cast<std::vector<std::vector<int>>>();
        made.joins = lists["joins"].cast<uint64_t>();
        made.unary = lists["unary"].cast<uint64_t>();
        made.folding = lists["folding"].cast<uint64_t>();
        return made;
    }

    Algebra algebra_;
    RuleBook book_;
    ActionSet actions_;
    Moves moves_;
    Finisher finisher_;
    StatePointer latest_;
    std::unique_ptr<Legality> legality_;
};

py::tuple as_tuple(const std::vector<int>& values) {
    py::tuple out(values.size());
    for (size_t i = 0; i < values.size(); ++i) out[i] = values[i];
    return out;
}

}  // namespace

PYBIND11_MODULE(_core, module) {
    py::enum_<Refusal>(module, "Refusal")
        .value("none", Refusal::none)
        .value("finished", Refusal::finished)
        .value("few_tensors", Refusal::few_tensors)
        .value("most_primitives", Refusal::most_primitives)
        .value("most_weighted", Refusal::most_weighted)
        .value("weighted_ratio", Refusal::weighted_ratio)
        .value("shape", Refusal::shape)
        .value("equation", Refusal::equation)
        .value("group_count", Refusal::group_count)
        .value("constraint", Refusal::constraint)
        .value("variables", Refusal::variables)
        .value("exponent", Refusal::exponent)
        .value("activation", Refusal::activation)
        .value("spatial_weight", Refusal::spatial_weight)
        .value("flops_budget", Refusal::flops_budget)
        .value("params_budget", Refusal::params_budget)
        .value("memory_budget", Refusal::memory_budget)
        .value("no_tensor", Refusal::no_tensor)
        .value("width", Refusal::width)
        .value("just_pushed", Refusal::just_pushed)
        .value("number", Refusal::number)
        .value("tensors_left", Refusal::tensors_left)
        .value("few_primitives", Refusal::few_primitives)
        .value("few_weighted", Refusal::few_weighted)
        .value("necessary", Refusal::necessary)
        .value("receptive", Refusal::receptive)
        .value("output_size", Refusal::output_size)
        .value("one_level", Refusal::one_level)
        .value("pointless", Refusal::pointless)
        .value("pointless_end", Refusal::pointless_end)
        .value("repeated", Refusal::repeated)
        .value("unfinishable", Refusal::unfinishable);
    py::class_<Algebra>(module, "Algebra")
        .def(py::init<std::vector<std::array<long, 3>>, bool, py::object>())
        .def("product", &Algebra::product)
        .def("quotient", &Algebra::quotient)
        .def("substitute", &Algebra::substitute)
        .def("integers", &Algebra::integers)
        .def("solve", &Algebra::solve)
        .def("domain", &Algebra::domain)
        .def("find_witness", &Algebra::find_witness);
    py::class_<Limits>(module, "Limits")
        .def(py::init([](int least, int most, int width, bool bmm) { return Limits{least, most, width, bmm}; }),
             py::arg("min_primitives"), py::arg("max_primitives"), py::arg("width"), py::arg("require_bmm"))
        .def_readonly("min_primitives", &Limits::min_primitives)
        .def_readonly("max_primitives", &Limits::max_primitives)
        .def_readonly("width", &Limits::width)
        .def_readonly("require_bmm", &Limits::require_bmm);
    py::class_<State, std::shared_ptr<State>>(module, "CoreState")
        .def_readonly("limits", &State::limits)
        .def_property_readonly("done", &State::done)
        .def_property_readonly("primitives", [](const State& state) { return state.tally.primitives; })
        .def_property_readonly("weighted", [](const State& state) { return state.tally.weighted; })
        .def_property_readonly("families", [](const State& state) { return state.tally.families; })
        .def_property_readonly("group_count", [](const State& state) { return state.tally.group_count; })
        .def_property_readonly("variables", [](const State& state) { return state.system->variables; })
        .def_property_readonly("depth", [](const State& state) { return state.stack.size(); })
        .def_property_readonly("program", [](const State& state) { return as_tuple(state.program); })
        .def_property_readonly("plan", [](const State& state) { return as_tuple(state.plan); })
        .def_property_readonly("stack", [](const State& state) { return as_tuple(state.stack); });
    py::class_<Core>(module, "Core")
        .def(py::init<const py::dict&, const py::object&>())
        .def("start", &Core::start)
        .def("can_finish", &Core::can_finish)
        .def("mask", &Core::mask)
        .def("refusal", &Core::refusal)
        .def("draw", &Core::draw)
        .def("step", &Core::step)
        .def("move", &Core::move)
        .def("play", &Core::play)
        .def("operands", &Core::operands)
        .def("nodes", &Core::nodes)
        .def("shape_keys", &Core::shape_keys)
        .def("shape", &Core::shape)
        .def("witness", &Core::witness)
        .def("constraints", &Core::constraints)
        .def("spent", &Core::spent)
        .def_property_readonly("tables", &Core::tables);
}

}  // namespace canvas
