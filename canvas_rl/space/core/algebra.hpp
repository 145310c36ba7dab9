// Sizes as Python has them and as the core has them, at fixed sites.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <unordered_map>

#include "recipe.hpp"

namespace canvas {

namespace py = pybind11;

// Python's sizes: symbols 0 to 2 are C, H, W, then the free variables; in traces the operands' dims, then fresh ones.
constexpr int kPythonVariables = 3;

class Algebra {
   public:
    // sites: (C, H, W) of each. make_size: Python's Size.of.
    Algebra(std::vector<std::array<long, 3>> sites, bool spatial_fixed, py::object make_size)
        : sites_(std::move(sites), spatial_fixed), witnesses_(sites_), make_size_(std::move(make_size)) {}
    Algebra(const Algebra&) = delete;

    Sites& sites() { return sites_; }

    py::object size(const Size& value) {
        const auto known = sizes_.find(value);
        if (known != sizes_.end()) return known->second;
        py::int_ num(1), den(1);
        const auto& primes = sites_.coefficient_primes();
        for (size_t i = 0; i < primes.size(); ++i) {
            const int power = value.e[kFirstPrime + i];
            py::int_& part = power > 0 ? num : den;
            if (power) part = py::int_(part * py::int_(primes[i]).attr("__pow__")(std::abs(power)));
        }
        py::list exponents;
        for (int entry : {kChannels, kHeight, kWidth}) append(exponents, entry - kChannels, value.e[static_cast<size_t>(entry)]);
        for (int v = 0; v < kVariables; ++v) append(exponents, kPythonVariables + v, value.e[static_cast<size_t>(v)]);
        if (sizes_.size() >= kMostSizes) sizes_.clear();
        return sizes_[value] = make_size_(num, den, py::tuple(exponents));
    }
    // A Python size whose variables are inputs of a recipe.
    Monomial traced(const py::handle& value) {
        Monomial monomial;
        monomial.coefficient = sites_.fraction(value.attr("num").cast<long>(), value.attr("den").cast<long>());
        for (const auto& [symbol, power] : value.attr("exps").cast<std::vector<std::pair<int, int>>>()) {
            if (symbol < kPythonVariables) {
                monomial.coefficient.e[static_cast<size_t>(kChannels + symbol)] = static_cast<int16_t>(power);
            } else {
                monomial.terms.emplace_back(static_cast<uint8_t>(symbol - kPythonVariables), static_cast<int8_t>(power));
            }
        }
        return monomial;
    }
    // A Python size whose variables are a program's.
    Size plain(const py::handle& value) {
        Monomial monomial = traced(value);
        for (const auto& [variable, power] : monomial.terms) {
            if (variable >= kVariables) throw py::value_error("a size has more variables than the core allows");
            monomial.coefficient.e[variable] = power;
        }
        return monomial.coefficient;
    }

    py::object product(const py::object& left, const py::object& right) { return size(plain(left) * plain(right)); }
    py::object quotient(const py::object& left, const py::object& right) { return size(plain(left) / plain(right)); }
    py::object substitute(const py::object& value, const std::vector<py::object>& values) {
        Assignment assignment{};
        for (size_t v = 0; v < values.size(); ++v) assignment.at(v) = plain(values[v]);
        return size(substituted(plain(value), assignment));
    }
    // A size's numbers, one a site; None where it is no integer.
    py::object integers(const py::object& value) {
        Values values{};
        if (!sites_.integers(plain(value), values)) return py::none();
        return py::cast(std::vector<double>(values.begin(), values.begin() + sites_.count()));
    }
    // The newest variable (its symbol) that occurs linearly in left == right, and its value; None if there is none.
    py::object solve(const py::object& left, const py::object& right) {
        Solution solution;
        if (!canvas::solve(sites_, plain(left), plain(right), solution)) return py::none();
        return py::make_tuple(solution.variable + kPythonVariables, size(solution.value));
    }
    py::list domain(int variable, const std::vector<std::pair<py::object, double>>& constraints) {
        py::list out;
        for (const auto& value : *witnesses_.domain(variable, listed(constraints))) out.append(size(value.size));
        return out;
    }
    // Values of the first `variables` variables that meet (size, least) constraints, near known values of the oldest.
    py::object find_witness(int variables, const std::vector<std::pair<py::object, double>>& constraints,
                            const std::vector<py::object>& near, int tries) {
        System system;
        system.variables = variables;
        system.constraints = listed(constraints);
        for (size_t v = 0; v < near.size(); ++v) system.witness.at(v) = plain(near[v]);
        if (!witnesses_.find(system, static_cast<int>(near.size()), tries)) return py::none();
        py::list out;
        for (int v = 0; v < variables; ++v) out.append(size(system.witness[static_cast<size_t>(v)]));
        return out;
    }

   private:
    static constexpr size_t kMostSizes = 1 << 16;

    static void append(py::list& exponents, int symbol, int power) {
        if (power) exponents.append(py::make_tuple(symbol, power));
    }
    std::vector<Constraint> listed(const std::vector<std::pair<py::object, double>>& wanted) {
        std::vector<Constraint> constraints;
        for (const auto& [value, least] : wanted) constraints.push_back({plain(value), least});
        return constraints;
    }

    Sites sites_;
    Witnesses witnesses_;
    py::object make_size_;
    std::unordered_map<Size, py::object, SizeHash> sizes_;
};

}  // namespace canvas
