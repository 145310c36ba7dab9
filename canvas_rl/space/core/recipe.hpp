// Recipes: the rules of primitives, traced once for each pattern of operands, as arithmetic on sizes.
//
// Python's primitives stay the only place where a rule is written down: `RuleBook` asks them (through a callback) what
// each template does to operands of a pattern whose sizes are symbols, and keeps the answer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "shape.hpp"
#include "system.hpp"
#include "trees.hpp"

namespace canvas {

constexpr int kInputs = 4 * kSlots;  // dims of two operands
constexpr int kLargestFresh = kVariables;
// After the dims and the fresh variables come products: of each group, and of the dims that broadcasting does not share.
constexpr int kGroupInputs = kInputs + kLargestFresh;
constexpr int kMiddleInputs = kGroupInputs + 4;
constexpr int kAllInputs = kMiddleInputs + 2;

// How a rule looks at its operands, which says for which operands one recipe holds.
enum class View {
    dims,     // at each dim: for one pattern of dims
    groups,   // at groups as wholes: for kinds of groups, empty or not
    aligned,  // at the dims that the operands do not share, as wholes: for lengths of the shared ends
};
constexpr int kViews = 3;

// A product of powers of the operands' dims and the fresh variables, times a size.
struct Monomial {
    Size coefficient;
    std::vector<std::pair<uint8_t, int8_t>> terms;  // (input, power)

    Size at(const Size* const* inputs) const {
        Size result = coefficient;
        for (const auto& [input, power] : terms) result.multiply(*inputs[input], power);
        return result;
    }
    bool operator==(const Monomial& other) const { return coefficient == other.coefficient && terms == other.terms; }
};

struct Recipe {
    int id = 0;  // names the traced primitive in Python
    size_t rule = 0;  // equal for recipes whose rules on facts are the same
    int action = 0;
    int family = 0;
    int kind = 0;  // equal for recipes of one table whose effects on legality are equal
    bool weighted = false;
    bool twin = false;      // weightless and without fresh variables: on the same operands it makes the same tensor
    bool swapped = false;   // the operands are (top, under)
    int group_count = 0;    // the kernel's group count that it fixes, 0 for none
    int fresh = 0;
    Field offset;
    Shape frame;  // the result's kinds and dims
    int copies[2] = {-1, -1};  // instead, for views of wholes: the group (2 * operand + group) that each of the result's is
    struct Dim {
        int slot;
        int copy;  // the input it is a copy of, -1 for none
        Monomial size;
    };
    std::vector<Dim> dims;
    Monomial numel;  // elements of the result
    std::vector<std::pair<Monomial, double>> constraints;  // (size, least)
    std::vector<Monomial> weights, flops;
    bool has_equation = false;
    Monomial left, right;
};

struct Table {
    std::vector<Recipe> recipes;  // by action
    std::vector<int> first;       // for each kind its first recipe
    View view = View::dims;

    const Recipe* find(int action) const;
};

// The patterns of the tensors that a template meets and the numbers of what is known of them; -1 for no tensor.
struct Operands {
    int under_pattern, top_pattern, under_facts, top_facts;
};

// For each recipe of a table: whether it makes no sense on some operands; found when asked.
struct Verdicts {
    std::vector<uint16_t> values;   // of what rules read of the operands
    std::vector<int8_t> pointless;  // -1: not asked yet
};

// What Python is asked.
struct Rules {
    std::function<std::vector<Recipe>(int pattern)> unary;
    std::function<std::vector<Recipe>(View view, int under, int top, int prefix, int suffix, bool same)> binary;
    std::function<std::vector<uint16_t>(int facts)> values;  // numbers of what rules read of facts
    std::function<std::vector<Answer>(const std::vector<int>& recipes, const Operands& operands)> pointless;
    std::function<Answer(int pattern, int facts)> pointless_output;
    std::function<Answer(int recipe, const Operands& operands)> facts;
};

class RuleBook {
   public:
    // The flags say what else than the sizes legality depends on.
    RuleBook(Rules rules, bool costs, bool families, bool fields)
        : rules_(std::move(rules)), costs_(costs), families_(families), fields_(fields) {}

    Table& unary(const Shape& top);
    Table& binary(View view, const Shape& under, const Shape& top, bool same);
    Verdicts verdicts(const Table& table, const Operands& operands);
    bool pointless(const Table& table, Verdicts& verdicts, const Operands& operands, size_t recipe);
    void ask_all(const Table& table, Verdicts& verdicts, const Operands& operands);
    bool pointless_output(int pattern, int facts);
    int facts(int recipe, const Operands& operands);
    size_t tables() const { return tables_.size(); }

   private:
    std::unique_ptr<Table> make(std::vector<Recipe> recipes, View view);
    std::string effect(const Recipe& recipe) const;
    // What rules read of the operands, under and top: for each numbers of its facts, then of its pattern.
    std::vector<uint16_t> values(const Operands& operands);
    void ask(const Table& table, Verdicts& verdicts, const Operands& operands, size_t first, size_t end);
    Rules rules_;
    bool costs_, families_, fields_;
    std::unordered_map<uint64_t, std::unique_ptr<Table>> tables_;
    std::vector<size_t> rule_of_;  // by a recipe's number
    Trees pointless_, outputs_, facts_;
    std::vector<std::vector<uint16_t>> values_;  // by number of facts, empty where not asked yet
    std::unordered_map<int, size_t> patterns_;  // their numbers, as they come
};

}  // namespace canvas
