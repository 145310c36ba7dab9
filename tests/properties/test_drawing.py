"""The kernels that the properties are tested on are of every kind."""

from collections import Counter

from drawing import EXAMPLES, SPACES, draw

from canvas_rl.config import SearchOptions
from canvas_rl.primitives import FAMILIES, FamilyContext


def test_drawn_kernels_have_every_family_and_kind_of_site(tally: Counter[str]) -> None:
    drawn = [draw(number % SPACES, number) for number in range(EXAMPLES)]
    context = FamilyContext(SearchOptions(), 2, (2,))
    families = {template.family for family in FAMILIES for template in family.templates(context)}
    met = Counter(name for kernel in drawn for name in set(kernel.graph.families))
    assert met.keys() == families
    assert min(met.values()) >= 0.005 * len(drawn)
    assert {kernel.graph.spatial_dims for kernel in drawn} == {0, 1, 2}
    assert {kernel.graph.spatial_fixed for kernel in drawn} == {True, False}
    assert sum(kernel.site not in kernel.graph.sites for kernel in drawn) >= 0.1 * len(drawn)
    distinct = len({kernel.graph.hash for kernel in drawn})
    assert distinct >= min(0.9 * len(drawn), 1000)
    tally["examples"] += len(drawn)
    tally["distinct"] += distinct
    tally["primitives"] += sum(kernel.graph.primitive_count for kernel in drawn)
    tally.update(met)
