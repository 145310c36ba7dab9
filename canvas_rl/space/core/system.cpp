#include "system.hpp"

#include <algorithm>

namespace canvas {

namespace {

constexpr size_t kDomains = 64;

// Numbers and image sizes in the denominator of a constraint: multiples of these satisfy it.
void wanted_divisors(const Sites& sites, const Size& size, std::vector<Size>& factors) {
    Size number;
    for (int entry = kFirstPrime; entry < kEntries; ++entry)
        if (size.e[entry] < 0) number.e[entry] = static_cast<int16_t>(-size.e[entry]);
    if (number != Size{}) factors.push_back(number);
    if (!sites.fixed()) return;
    for (int entry : {kHeight, kWidth}) {
        if (size.e[entry] >= 0) continue;
        factors.push_back(unit(entry));
        factors.push_back(unit(entry) * number);
    }
    if (size.e[kHeight] < 0 && size.e[kWidth] < 0) factors.push_back(unit(kHeight) * unit(kWidth));
}

}  // namespace

bool solve(const Sites& sites, const Size& left, const Size& right, Solution& solution) {
    const Size ratio = left / right;
    for (int v = kVariables - 1; v >= 0; --v) {
        const int power = ratio.e[v];
        if (power != 1 && power != -1) continue;
        Size value;
        value.multiply(ratio, -power);
        value.e[v] = 0;
        if (!sites.fixed() && value.has_spatial()) return false;
        solution = {v, value};
        return true;
    }
    return false;
}

bool System::fits(const Sites& sites, const Volume& volume) const {
    Values values;
    if (!sites.integers(substituted(volume.size, witness), values)) return false;
    return std::all_of(values.begin(), values.begin() + sites.count(), [&](double v) { return v <= volume.most; });
}

bool System::all_fit(const Sites& sites) const {
    return std::all_of(volumes.begin(), volumes.end(), [&](const Volume& volume) { return fits(sites, volume); });
}

bool System::known(const Constraint& constraint) const {
    return std::find(constraints.begin(), constraints.end(), constraint) != constraints.end();
}

Witnesses::Domain Witnesses::domain(int variable, const std::vector<Constraint>& constraints) {
    std::vector<Size> factors{Size{}};
    for (const auto& constraint : constraints)
        if (constraint.size.e[variable] > 0) wanted_divisors(sites_, constraint.size, factors);
    if (factors.size() > 1) {
        std::sort(factors.begin(), factors.end());
        factors.erase(std::unique(factors.begin(), factors.end()), factors.end());
    }
    for (const auto& known : domains_)
        if (known.first == factors) return known.second;

    std::vector<Value> values;
    for (const auto& factor : factors) {
        Size two, share = unit(kChannels) * factor, small = factor;
        two.e[kFirstPrime] = 1;  // 2 is the first coefficient prime of all sites
        for (int i = 0; i <= 6; ++i, share /= two) values.push_back({share, {}});
        for (int i = 0; i <= 5; ++i, small *= two) values.push_back({small, {}});
    }
    auto unusable = [this](Value& value) {
        if (!sites_.integers(value.size, value.integers)) return true;
        return std::any_of(value.integers.begin(), value.integers.begin() + sites_.count(), [](double v) { return v < 2; });
    };
    values.erase(std::remove_if(values.begin(), values.end(), unusable), values.end());
    const auto count = sites_.count();
    std::sort(values.begin(), values.end(), [count](const Value& a, const Value& b) {
        for (int i = 0; i < count; ++i)
            if (a.integers[i] != b.integers[i]) return a.integers[i] < b.integers[i];
        return a.size < b.size;
    });
    auto same = [](const Value& a, const Value& b) { return a.size == b.size; };
    values.erase(std::unique(values.begin(), values.end(), same), values.end());
    domains_.reserve(kDomains);
    if (domains_.size() < kDomains) domains_.emplace_back();
    auto& place = domains_[next_++ % kDomains];
    place = {std::move(factors), std::make_shared<const std::vector<Value>>(std::move(values))};
    return place.second;
}

// Depth-first search over the variables' domains, checking each constraint once all its variables are set.
struct Witnesses::Search {
    struct Due {
        Size size;  // what is known put in
        double least;
        Variables own;  // the variables searched for in it
        int newest;     // the last of them
    };
    const Sites& sites;
    std::vector<Due> due;
    int count = 0;
    std::array<int, kVariables> order;
    std::array<std::vector<const Size*>, kVariables> domains;
    std::array<Domain, kVariables> owners;  // of these sizes
    Assignment& chosen;
    int& tries;

    bool holds(const Due& constraint) const {
        return sites.at_least(substituted(constraint.size, chosen, constraint.own), constraint.least);
    }
    bool holds(int variable, bool alone) const {
        return std::all_of(due.begin(), due.end(), [&](const Due& constraint) {
            const bool single = (constraint.own & (constraint.own - 1)) == 0;
            return constraint.newest != variable || single != alone || holds(constraint);
        });
    }
    // The values of a variable that meet the constraints on it alone.
    bool restrict(int variable, Domain values) {
        auto& domain = domains[static_cast<size_t>(count)];
        auto& owner = owners[static_cast<size_t>(count)] = std::move(values);
        order[static_cast<size_t>(count++)] = variable;
        for (const auto& value : *owner) {
            chosen[static_cast<size_t>(variable)] = value.size;
            if (holds(variable, true)) domain.push_back(&value.size);
        }
        return !domain.empty();
    }
    bool descend(int depth) {
        if (depth == count) return true;
        const int variable = order[static_cast<size_t>(depth)];
        for (const Size* value : domains[static_cast<size_t>(depth)]) {
            if (--tries < 0) return false;
            chosen[static_cast<size_t>(variable)] = *value;
            if (holds(variable, false) && descend(depth + 1)) return true;
        }
        return false;
    }
};

bool Witnesses::backtrack(System& system, Variables searched, int& tries) {
    Assignment chosen = system.witness;
    Search search{sites_, {}, 0, {}, {}, {}, chosen, tries};
    for (const auto& constraint : system.constraints) {
        const Variables all = constraint.size.variables(), own = all & searched;
        if (!own) continue;
        const Size size = substituted(constraint.size, system.witness, all & ~searched);
        search.due.push_back({size, constraint.least, own, 31 - __builtin_clz(own)});
    }
    for (int v = 0; v < system.variables; ++v)
        if (searched >> v & 1 && !search.restrict(v, domain(v, system.constraints))) return false;
    if (!search.descend(0)) return false;
    system.witness = chosen;
    return true;
}

bool Witnesses::find(System& system, int known, int most_tries) {
    if (most_tries != kTries) return search(system, known, most_tries);
    uint64_t key = mix(static_cast<uint64_t>(system.variables) << 8 | static_cast<uint64_t>(known), system.witness.data(),
                       static_cast<size_t>(known) * sizeof(Size));
    for (const auto& constraint : system.constraints) {
        key = mix(key, &constraint.size, sizeof constraint.size);
        key = mix(key, &constraint.least, sizeof constraint.least);
    }
    key |= 1;  // 0 is an empty place
    Found& found = memo_[key / 2 % kMemo];
    if (found.key != key) {
        const bool exists = search(system, known, most_tries);
        found = {key, exists, system.witness};
    }
    if (found.exists) system.witness = found.witness;
    return found.exists;
}

bool Witnesses::search(System& system, int known, int most_tries) {
    const Variables missing = ((1u << system.variables) - 1) & ~((1u << known) - 1);
    Variables searched = missing;
    for (const auto& constraint : system.constraints) {
        const Variables own = constraint.size.variables();
        if ((own & missing) || system.holds(sites_, constraint)) continue;
        if (!own) return false;
        searched |= own;
    }
    if (!searched) return true;
    int tries = most_tries;
    if (backtrack(system, searched, tries)) return true;
    Variables tied = searched;
    for (Variables before = 0; before != tied;) {
        before = tied;
        for (const auto& constraint : system.constraints)
            if (constraint.size.variables() & tied) tied |= constraint.size.variables();
    }
    tries = most_tries;
    return tied != searched && backtrack(system, tied, tries);
}

}  // namespace canvas
