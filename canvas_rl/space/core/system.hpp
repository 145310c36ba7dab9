// What must hold of a program's free variables, with a witness that it can.
#pragma once

#include <memory>
#include <vector>

#include "sites.hpp"

namespace canvas {

// A size is an integer of at least `least` at every site.
struct Constraint {
    Size size;
    double least = 1;
    bool operator==(const Constraint& other) const { return least == other.least && size == other.size; }
};

// A tensor or weight has at most `most` elements at every site.
struct Volume {
    Size size;
    double most;
};

using Assignment = std::array<Size, kVariables>;  // a size without variables for each variable

// A size with the values of some of its variables put in.
inline Size substituted(const Size& size, const Assignment& values, Variables some) {
    Size result = size;
    for (; some; some &= some - 1) {
        const auto v = static_cast<size_t>(__builtin_ctz(some));
        result.e[v] = 0;
        result.multiply(values[v], size.e[v]);
    }
    return result;
}

inline Size substituted(const Size& size, const Assignment& values) { return substituted(size, values, size.variables()); }

// A variable is replaced by a size without it and taken out: those made later move one place down.
struct Solution {
    int variable;
    Size value;

    Size apply(const Size& size) const {
        if (!size.has_variables()) return size;
        Size result = size;
        result.e[variable] = 0;
        result.multiply(value, size.e[variable]);
        for (int v = variable; v + 1 < kVariables; ++v) result.e[v] = result.e[v + 1];
        result.e[kVariables - 1] = 0;
        return result;
    }
};

// The newest variable that occurs linearly in left == right, and its value; false if there is none, or where its
// value would tie it to image sizes that are not fixed.
bool solve(const Sites& sites, const Size& left, const Size& right, Solution& solution);

struct System {
    int variables = 0;
    int hidden = 0;  // free variables that count but play no part any more
    Assignment witness{};
    std::vector<Constraint> constraints;
    std::vector<Volume> volumes;

    bool holds(const Sites& sites, const Constraint& constraint) const {
        return sites.at_least(substituted(constraint.size, witness), constraint.least);
    }
    bool fits(const Sites& sites, const Volume& volume) const;
    bool all_fit(const Sites& sites) const;
    bool known(const Constraint& constraint) const;
};

constexpr int kTries = 400;

// Finds witnesses; the domains of variables that it made last are kept.
class Witnesses {
   public:
    explicit Witnesses(const Sites& sites) : sites_(sites), memo_(kMemo) {}

    struct Value {
        Size size;
        Values integers;
    };
    using Domain = std::shared_ptr<const std::vector<Value>>;
    // Values that a variable may take: small powers of two and shares of C, times what the constraints divide it by;
    // all integers of at least 2 at every site, smallest first.
    Domain domain(int variable, const std::vector<Constraint>& constraints);

    // Makes the witness of a system meet every constraint, near the present one, whose first `known` variables are
    // set. False after so many tested values: such a system counts as unsolvable.
    bool find(System& system, int known, int most_tries = kTries);

   private:
    struct Search;
    struct Found {
        uint64_t key = 0;
        bool exists = false;
        Assignment witness;
    };
    static constexpr size_t kMemo = 1 << 14;

    bool search(System& system, int known, int most_tries);
    bool backtrack(System& system, Variables searched, int& tries);
    const Sites& sites_;
    std::vector<std::pair<std::vector<Size>, Domain>> domains_;
    size_t next_ = 0;
    std::vector<Found> memo_;
};

}  // namespace canvas
