"""Whether a search found what it was for."""

from canvas_rl.evaluation.measurement import Measurement


def shortfall(best: Measurement | None, earned: float, reference: Measurement, reference_reward: float) -> str | None:
    """Whether no kernel beats the replaced convolution, or one by its quality alone, and what to try; None if one does.

    Args:
        best: the best kernel's measurement, one without failure; None if there is none.
        earned: the best kernel's reward.
        reference: the replaced convolution's measurement.
        reference_reward: what the convolution itself would earn.
    """
    if best is None:
        return f"No kernel was measured without failure. {_ADVICE}"
    own, its = f"reward {earned:.3f}, {_words(best)}", f"reward {reference_reward:.3f}, {_words(reference)}"
    if earned <= reference_reward:
        return f"No kernel beats the replaced convolution ({its}): the best, {best.kernel[:8]}, has {own}. {_ADVICE}"
    if best.speedup is None or best.speedup > 1:
        return None
    return (
        f"The best kernel, {best.kernel[:8]} ({own}), is better than the replaced convolution ({its}) and not faster. "
        f"{_ADVICE}"
    )


_ADVICE = "Try more evaluations, another agent, or another search space or budget."


def _words(measurement: Measurement) -> str:
    speed = "speedup unknown" if measurement.speedup is None else f"{measurement.speedup:.2f}x"
    return speed if measurement.quality is None else f"{speed}, quality {measurement.quality:.3f}"
