// Level 2: choosing the free sizes of a kernel whose structure is complete.
#pragma once

#include "moves.hpp"

namespace canvas {

// Values of the free variables: first every one is widened in turn (up to C) as far as constraints, the activation
// limit and the budgets (without budgets: the replaced convolution's own cost) allow; for a level below 1 the same is
// done again with each bounded by `level` times what it had got. It starts from the witness, so that there always is one.
Assignment fill(Moves& moves, const State& state, double level);

}  // namespace canvas
