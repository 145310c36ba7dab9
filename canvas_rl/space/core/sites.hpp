// What sizes are at every site of a network.
#pragma once

#include <limits>
#include <stdexcept>
#include <vector>

#include "size.hpp"

namespace canvas {

constexpr int kMostSites = 64;

using Values = std::array<double, kMostSites>;  // one number a site; products below 2^53 are exact

class Sites {
   public:
    // sites: C, H, W of each, absent image sizes as 1. fixed: whether the image sizes never change; if they may,
    // divisibility in H and W has to hold symbolically.
    Sites(std::vector<std::array<long, 3>> sites, bool fixed) : fixed_(fixed), sites_(std::move(sites)) {
        if (sites_.empty() || sites_.size() > kMostSites) throw std::invalid_argument("expected 1 to 64 sites");
        coefficient(2);
        for (const auto& site : sites_)
            for (long number : site) factorise(number, [this](long prime, int) { factor(prime); });
    }

    int count() const { return static_cast<int>(sites_.size()); }
    bool fixed() const { return fixed_; }

    // The size num / den.
    Size fraction(long num, long den) {
        Size size;
        factorise(num, [&](long prime, int power) { size.e[coefficient(prime)] += static_cast<int16_t>(power); });
        factorise(den, [&](long prime, int power) { size.e[coefficient(prime)] -= static_cast<int16_t>(power); });
        return size;
    }

    // The primes of coefficients, in the order of their entries.
    const std::vector<long>& coefficient_primes() const { return coefficients_; }

    // The integers of a size without variables; false where it is no integer at some site.
    bool integers(const Size& size, Values& out) const {
        if (!fixed_ && size.divides_space()) return false;
        for (int site = 0; site < count(); ++site) {
            double value = 1;
            for (const auto& factor : factors_) {
                const auto& counts = factor.counts[site];
                const int own = (factor.entry ? size.e[factor.entry] : 0) + size.e[kChannels] * counts[0];
                const int space = size.e[kHeight] * counts[1] + size.e[kWidth] * counts[2];
                const int power = own + space;
                if (power < 0 || (!fixed_ && own < 0)) return false;
                value *= factor.power(power);
            }
            out[site] = value;
        }
        return true;
    }

    bool at_least(const Size& size, double least) const {
        Values values;
        if (!integers(size, values)) return false;
        for (int site = 0; site < count(); ++site)
            if (values[site] < least) return false;
        return true;
    }

    // Adds sign * size at every site to the sums; a part that is no integer counts as what it is.
    void add(const Size& size, Values& sums) const {
        for (int site = 0; site < count(); ++site) {
            double top = 1, bottom = 1;
            for (const auto& factor : factors_) {
                const auto& counts = factor.counts[site];
                const int power = (factor.entry ? size.e[factor.entry] : 0) + size.e[kChannels] * counts[0] +
                                  size.e[kHeight] * counts[1] + size.e[kWidth] * counts[2];
                if (power > 0) top *= factor.power(power);
                if (power < 0) bottom *= factor.power(-power);
            }
            sums[site] += top / bottom;
        }
    }

   private:
    struct Factor {
        long prime;
        int entry;                               // of the coefficient's exponent, 0 for none
        std::vector<std::array<int, 3>> counts;  // how often it divides C, H, W, a site
        std::vector<double> powers;

        double power(int exponent) const {
            return exponent < static_cast<int>(powers.size()) ? powers[exponent] : std::numeric_limits<double>::infinity();
        }
    };

    template <typename Use>
    static void factorise(long number, Use use) {
        for (long prime = 2; prime * prime <= number; ++prime) {
            int power = 0;
            for (; number % prime == 0; number /= prime) ++power;
            if (power) use(prime, power);
        }
        if (number > 1) use(number, 1);
    }

    Factor& factor(long prime) {
        for (auto& known : factors_)
            if (known.prime == prime) return known;
        Factor made{prime, 0, {}, {}};
        for (const auto& site : sites_) {
            std::array<int, 3> counts{};
            for (int i = 0; i < 3; ++i)
                for (long number = site[i]; number % prime == 0; number /= prime) ++counts[i];
            made.counts.push_back(counts);
        }
        double value = 1;
        for (; value < 1e300 / static_cast<double>(prime); value *= static_cast<double>(prime)) made.powers.push_back(value);
        factors_.push_back(std::move(made));
        return factors_.back();
    }

    int coefficient(long prime) {
        Factor& known = factor(prime);
        if (!known.entry) {
            if (coefficients_.size() == kPrimes)
                throw std::invalid_argument("sizes with more than 21 different prime factors in their coefficients");
            known.entry = kFirstPrime + static_cast<int>(coefficients_.size());
            coefficients_.push_back(prime);
        }
        return known.entry;
    }

    bool fixed_;
    std::vector<std::array<long, 3>> sites_;
    std::vector<Factor> factors_;
    std::vector<long> coefficients_;
};

}  // namespace canvas
