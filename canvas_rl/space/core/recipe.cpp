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

std::unique_ptr<Table> RuleBook::make(std::vector<Recipe> recipes, View view) {
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
        const auto id = static_cast<size_t>(recipe.id);
        if (rule_of_.size() <= id) rule_of_.resize(id + 1);
        rule_of_[id] = recipe.rule;
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

std::vector<uint16_t> RuleBook::values(const Operands& operands) {
    std::vector<uint16_t> row;
    const auto add = [&](int number, int pattern) {  // of an absent tensor any will do: no rule reads them
        const auto facts = static_cast<size_t>(std::max(number, 0));
        if (values_.size() <= facts) values_.resize(facts + 1);
        if (values_[facts].empty()) values_[facts] = rules_.values(static_cast<int>(facts));
        row.insert(row.end(), values_[facts].begin(), values_[facts].end());
        row.push_back(static_cast<uint16_t>(patterns_.emplace(pattern, patterns_.size()).first->second));
    };
    add(operands.under_facts, operands.under_pattern);
    add(operands.top_facts, operands.top_pattern);
    return row;
}

Verdicts RuleBook::verdicts(const Table& table, const Operands& operands) {
    return {values(operands), std::vector<int8_t>(table.recipes.size(), -1)};
}

bool RuleBook::pointless(const Table& table, Verdicts& verdicts, const Operands& operands, size_t place) {
    ask(table, verdicts, operands, place, place + 1);
    return verdicts.pointless[place] != 0;
}

void RuleBook::ask_all(const Table& table, Verdicts& verdicts, const Operands& operands) {
    ask(table, verdicts, operands, 0, table.recipes.size());
}

void RuleBook::ask(const Table& table, Verdicts& verdicts, const Operands& operands, size_t first, size_t end) {
    std::vector<int> ids;
    std::vector<size_t> places;
    for (size_t i = first; i < end; ++i) {
        auto& verdict = verdicts.pointless[i];
        if (verdict < 0) verdict = static_cast<int8_t>(pointless_.walk(table.recipes[i].rule, verdicts.values.data()));
        if (verdict >= 0) continue;
        ids.push_back(table.recipes[i].id);
        places.push_back(i);
    }
    if (ids.empty()) return;
    const auto answers = rules_.pointless(ids, operands);
    for (size_t i = 0; i < places.size(); ++i) {
        pointless_.insert(table.recipes[places[i]].rule, verdicts.values.data(), answers[i]);
        verdicts.pointless[places[i]] = static_cast<int8_t>(answers[i].first);
    }
}

bool RuleBook::pointless_output(int pattern, int facts) {
    const auto row = values({-1, pattern, -1, facts});
    int verdict = outputs_.walk(static_cast<size_t>(pattern), row.data());
    if (verdict == Trees::kUnknown) {
        const auto answer = rules_.pointless_output(pattern, facts);
        outputs_.insert(static_cast<size_t>(pattern), row.data(), answer);
        verdict = answer.first;
    }
    return verdict != 0;
}

int RuleBook::facts(int recipe, const Operands& operands) {
    const auto row = values(operands);
    const size_t rule = rule_of_[static_cast<size_t>(recipe)];
    const int known = facts_.walk(rule, row.data());
    if (known != Trees::kUnknown) return known;
    const auto answer = rules_.facts(recipe, operands);
    facts_.insert(rule, row.data(), answer);
    return answer.first;
}

}  // namespace canvas
