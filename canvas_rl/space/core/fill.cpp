#include "fill.hpp"

#include <algorithm>
#include <numeric>

namespace canvas {

namespace {

constexpr int kRounds = 2;

class Filler {
   public:
    Filler(Moves& moves, const State& state) : moves_(moves), state_(state), system_(*state.system) {
        for (int v = 0; v < system_.variables; ++v) domains_.push_back(moves.witnesses().domain(v, system_.constraints));
    }

    // Every variable as wide as allowed, at most its caps.
    Assignment ascend(const std::vector<Values>& caps) {
        system_.witness = state_.system->witness;
        for (int round = 0; round < kRounds; ++round)
            for (int v = 0; v < system_.variables; ++v) widen(v, caps[static_cast<size_t>(v)]);
        return system_.witness;
    }

   private:
    double sum(const Values& values) const {
        return std::accumulate(values.begin(), values.begin() + moves_.sites.count(), 0.0);
    }

    void widen(int variable, const Values& cap) {
        Size& own = system_.witness[static_cast<size_t>(variable)];
        const Size before = own;
        Values values;
        moves_.sites.integers(before, values);
        const double now = sum(values);
        auto order = *domains_[static_cast<size_t>(variable)];
        std::stable_sort(order.begin(), order.end(), [this](const auto& a, const auto& b) { return sum(a.integers) > sum(b.integers); });
        for (const auto& value : order) {
            if (sum(value.integers) <= now) break;
            bool below = true;
            for (int site = 0; site < moves_.sites.count(); ++site) below = below && value.integers[static_cast<size_t>(site)] <= cap[static_cast<size_t>(site)];
            if (!below) continue;
            own = value.size;
            if (allowed(variable)) return;
            own = before;
        }
    }

    // The witness differs in one variable from one that meets all constraints and volumes.
    bool allowed(int variable) const {
        const auto& sites = moves_.sites;
        for (const auto& constraint : system_.constraints)
            if (constraint.size.e[static_cast<size_t>(variable)] && !system_.holds(sites, constraint)) return false;
        for (const auto& volume : system_.volumes)
            if (volume.size.e[static_cast<size_t>(variable)] && !system_.fits(sites, volume)) return false;
        for (int i = 0; i < kCosts; ++i) {
            const auto& caps = moves_.options.caps[i];
            const auto& limit = i < 2 ? moves_.options.width_caps[i] : caps;
            if (limit.empty()) continue;
            Values sums{};
            for (const auto& size : state_.bill->open[i]) sites.add(substituted(size, system_.witness), sums);
            for (size_t site = 0; site < limit.size(); ++site)
                if (state_.bill->settled[i][site] + sums[site] > limit[site]) return false;
        }
        return true;
    }

    Moves& moves_;
    const State& state_;
    System system_;
    std::vector<Witnesses::Domain> domains_;
};

}  // namespace

Assignment fill(Moves& moves, const State& state, double level) {
    Filler filler(moves, state);
    const auto variables = static_cast<size_t>(state.system->variables);
    Values channels{};
    moves.sites.integers(unit(kChannels), channels);
    const Assignment widest = filler.ascend(std::vector<Values>(variables, channels));
    if (level == 1) return widest;
    std::vector<Values> caps(variables);
    for (size_t v = 0; v < variables; ++v) {
        moves.sites.integers(widest[v], caps[v]);
        for (double& cap : caps[v]) cap *= level;
    }
    return filler.ascend(caps);
}

}  // namespace canvas
