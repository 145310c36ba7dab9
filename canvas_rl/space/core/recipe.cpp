#include "recipe.hpp"

#include <algorithm>

namespace canvas {

namespace {

template <typename Number>
void write(std::string& text, const Number& number) {
    text.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void write(std::string& text, const Monomial& monomial) {
    write(text, monomial.coefficient.e);
    write(text, monomial.terms.size());
    for (const auto& term : monomial.terms) {
        write(text, term.first);
        write(text, term.second);
    }
}

void write(std::string& text, const std::vector<Monomial>& monomials) {
    write(text, monomials.size());
    for (const auto& monomial : monomials) write(text, monomial);
}

constexpr size_t kMostFacts = 1 << 18, kMostVerdicts = 1 << 15;

}  // namespace

const Recipe* Table::find(int action) const {
    auto at = std::lower_bound(recipes.begin(), recipes.end(), action,
                               [](const Recipe& recipe, int wanted) { return recipe.action < wanted; });
    return at == recipes.end() || at->action != action ? nullptr : &*at;
}

Table& RuleBook::unary(const Shape& top) {
    auto& table = tables_[static_cast<uint64_t>(top.pattern())];
    if (!table) table = make(rules_.unary(top.pattern()), View::dims);
    return *table;
}

Table& RuleBook::binary(View view, const Shape& under, const Shape& top, bool same) {
    int prefix = 0, suffix = 0, parts[5] = {};
    if (view == View::groups) {
        for (int group = 0; group < 2; ++group) {
            parts[group] = under.spatial[group] << 1 | (under.present[group] != 0);
            parts[2 + group] = top.spatial[group] << 1 | (top.present[group] != 0);
        }
    } else {
        align(under, top, prefix, suffix);
        int slots[2 * kSlots];
        const int shared = prefix + suffix, left = under.dims(slots) - shared, right = top.dims(slots) - shared;
        parts[0] = view == View::dims ? under.pattern() : left > 0;
        parts[1] = view == View::dims ? top.pattern() : right > 0;
        parts[2] = prefix;
        parts[3] = suffix;
        // two tensors of one shape, but for the names of dims in groups of other kinds
        parts[4] = left == 0 && right == 0 && under.pattern() == top.pattern();
    }
    uint64_t key = 1 + static_cast<uint64_t>(view);
    for (int part : parts) key = key << 10 | static_cast<uint64_t>(part);
    key = key << 1 | static_cast<uint64_t>(same);
    auto& table = tables_[key];
    if (!table) table = make(rules_.binary(view, under.pattern(), top.pattern(), prefix, suffix, same), view);
    return *table;
}

std::unique_ptr<Table> RuleBook::make(std::vector<Recipe> recipes, View view) const {
    auto table = std::make_unique<Table>();
    table->view = view;
    table->recipes = std::move(recipes);
    std::unordered_map<std::string, int> kinds;
    for (size_t i = 0; i < table->recipes.size(); ++i) {
        auto& recipe = table->recipes[i];
        for (const auto& dim : recipe.dims) {
            recipe.numel.coefficient *= dim.size.coefficient;
            recipe.numel.terms.insert(recipe.numel.terms.end(), dim.size.terms.begin(), dim.size.terms.end());
        }
        for (int group : recipe.copies)
            if (group >= 0) recipe.numel.terms.emplace_back(kGroupInputs + group, 1);
        const auto [place, added] = kinds.emplace(effect(recipe), static_cast<int>(kinds.size()));
        recipe.kind = place->second;
        if (added) table->first.push_back(static_cast<int>(i));
    }
    return table;
}

std::string RuleBook::effect(const Recipe& recipe) const {
    std::string text;
    write(text, recipe.weighted);
    write(text, recipe.swapped);
    write(text, recipe.group_count);
    write(text, recipe.fresh);
    write(text, recipe.frame.pattern());
    write(text, recipe.copies);
    write(text, recipe.has_equation);
    if (recipe.has_equation) {
        write(text, recipe.left);
        write(text, recipe.right);
    }
    for (const auto& dim : recipe.dims) {
        write(text, dim.slot);
        write(text, dim.size);
    }
    for (const auto& [size, least] : recipe.constraints) {
        write(text, least);
        write(text, size);
    }
    write(text, recipe.weights);
    if (costs_) write(text, recipe.flops);
    if (families_) write(text, recipe.family);
    if (fields_) write(text, recipe.offset);
    return text;
}

std::shared_ptr<Verdicts> RuleBook::verdicts(const Table& table, const Operands& operands) {
    const auto* place = &table;
    const uint64_t key = mix(mix(11, &operands, sizeof operands), &place, sizeof place);
    if (verdicts_.size() >= kMostVerdicts && !verdicts_.count(key)) verdicts_.clear();
    auto& known = verdicts_[key];
    if (!known) known = std::make_shared<Verdicts>(Verdicts{std::vector<int8_t>(table.recipes.size(), -1)});
    return known;
}

bool RuleBook::pointless(const Table& table, Verdicts& verdicts, const Operands& operands, size_t recipe) {
    auto& verdict = verdicts.pointless[recipe];
    if (verdict < 0) verdict = static_cast<int8_t>(rules_.pointless({table.recipes[recipe].id}, operands)[0]);
    return verdict != 0;
}

void RuleBook::ask_all(const Table& table, Verdicts& verdicts, const Operands& operands) {
    std::vector<int> ids;
    std::vector<size_t> places;
    for (size_t i = 0; i < table.recipes.size(); ++i) {
        if (verdicts.pointless[i] >= 0) continue;
        ids.push_back(table.recipes[i].id);
        places.push_back(i);
    }
    if (ids.empty()) return;
    const auto answers = rules_.pointless(ids, operands);
    for (size_t i = 0; i < places.size(); ++i) verdicts.pointless[places[i]] = static_cast<int8_t>(answers[i]);
}

bool RuleBook::pointless_output(int pattern, int facts) {
    const uint64_t key = static_cast<uint64_t>(pattern) << 32 | static_cast<uint32_t>(facts);
    const auto known = outputs_.find(key);
    if (known != outputs_.end()) return known->second;
    if (outputs_.size() >= kMostFacts) outputs_.clear();
    return outputs_[key] = rules_.pointless_output(pattern, facts);
}

int RuleBook::facts(int recipe, const Operands& operands) {
    const uint64_t key = mix(mix(13, &operands, sizeof operands), &recipe, sizeof recipe);
    const auto known = facts_.find(key);
    if (known != facts_.end()) return known->second;
    if (facts_.size() >= kMostFacts) facts_.clear();
    return facts_[key] = rules_.facts(recipe, operands);
}

}  // namespace canvas
