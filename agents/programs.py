"""Programs as genomes: lists of genes that can be cut and joined, and are repaired by the mask when they are played.

A push names the tensor that it pushes by number, and numbers shift when a gene is put in or taken out. A gene
therefore labels the tensor that it makes, and a push keeps the label of its tensor. Whatever edits leave behind, `grow`
turns it into a kernel: genes that are illegal at their place are left out, and what is missing at the end is drawn at
random.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from canvas_rl.space import Limits, SearchSpace, State

_INPUT = 0
_HALF = 0.5
_EVENLY = -2
_FEWEST_TO_MOVE = 2  # a gene and the output


@dataclass(frozen=True)
class Gene:
    """One action of a genome.

    Attributes:
        action: its index; -1 stands for a legal action, drawn when the genome is grown: a family first, then one of it;
            -2 for one drawn evenly among all.
        family: for an `action` of -1: draw from this family, where one of its actions is legal; -1 for any.
        label: of the tensor that it makes, -1 if it makes none.
        source: of a push: the label of its tensor, -1 otherwise.
    """

    action: int = -1
    family: int = -1
    label: int = -1
    source: int = -1


Genome = tuple[Gene, ...]


def _inner(genome: Genome, rng: np.random.Generator) -> int:
    """The place of a gene before the output."""
    return int(rng.integers(max(len(genome) - 1, 1)))


class Genetics:
    """Genomes of one search space.

    Args:
        space: the search space.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._index = {name: action for action, name in enumerate(space.actions)}
        names = [space.families[family] for family in space.family_of]
        self._pushes = [action for action, name in enumerate(names) if name == "Push"]
        self._outputs = [action for action, name in enumerate(names) if name == "Output"]
        self._members = [np.flatnonzero(space.family_of == family) for family in range(len(space.families))]
        arities = [{space.arity(action) for action in members.tolist()} for members in self._members]
        self._joins = [family for family, arity in enumerate(arities) if arity == {2}] if self._pushes else []

    def genome(self, program: Sequence[str], first: int = 0) -> Genome:
        """The genome of a program.

        Args:
            program: names of actions.
            first: labels of tensors start behind this one; genomes to be joined need different labels.
        """
        genes, made = [], 0
        for name in program:
            action = self._index[name]
            if action in self._outputs:
                genes.append(Gene(action))
            elif action in self._pushes:
                tensor = self._pushes.index(action)
                genes.append(Gene(action, source=first + tensor if tensor else _INPUT))
            else:
                made += 1
                genes.append(Gene(action, label=first + made))
        return tuple(genes)

    def limits(self, rng: np.random.Generator) -> Limits:
        """The widest limits; whether a BMM is forced is drawn."""
        forced = self.space.options.force_bmm_possibility
        return replace(self.space.widest(), require_bmm=bool(forced and rng.random() < forced))

    def grow(self, genome: Genome, rng: np.random.Generator) -> State:
        """The finished program that a genome is repaired to."""
        state, _ = self._follow(genome, rng)
        return state if state.done else self.space.play(rng, state=state)

    def grow_whole(self, genome: Genome, rng: np.random.Generator) -> State | None:
        """The finished program of a genome that needs no repair; None if it needs one."""
        state, left_out = self._follow(genome, rng)
        return state if state.done and not left_out else None

    def _follow(self, genome: Genome, rng: np.random.Generator) -> tuple[State, int]:
        """Play what is legal of a genome; also how many genes were left out."""
        space, left_out = self.space, 0
        state, numbers = space.start(self.limits(rng)), {_INPUT: 0}
        for gene in genome:
            action = self._legal(state, gene, numbers, rng)
            if action >= 0:
                state = space.step(state, action)
            left_out += action < 0
            if state.done:
                break
            if gene.label >= 0:  # where it is left out, what is on top takes its tensor's place
                numbers[gene.label] = state.stack[-1]
        return state, left_out

    def _legal(self, state: State, gene: Gene, numbers: dict[int, int], rng: np.random.Generator) -> int:
        """The legal action that a gene stands for here, -1 if there is none."""
        space = self.space
        if gene.action == _EVENLY:
            return int(rng.choice(np.flatnonzero(space.mask(state))))
        if gene.action < 0 and gene.family < 0:
            return space.random_action(state, rng)
        if gene.action < 0:
            of_family = rng.permutation(self._members[gene.family]).tolist()
            return next((action for action in of_family if space.is_legal(state, action)), -1)
        action = gene.action
        if gene.source >= 0:
            tensor = numbers.get(gene.source)
            action = self._pushes[tensor] if tensor is not None and tensor < len(self._pushes) else -1
        if action >= 0 and space.is_legal(state, action):
            return action
        fullest = self._outputs[0]  # levels are alike where no size is free
        return fullest if action in self._outputs and space.is_legal(state, fullest) else -1

    def mutate(self, genome: Genome, rng: np.random.Generator, edits: float = 1.0, branches: bool = False) -> Genome:
        """A genome with at least one edit.

        An edit, each kind as likely: puts in a gene of any kind, takes one out, replaces one by another of its family,
        replaces one by any, draws the rest of the program anew, or puts in a branch.

        Args:
            genome: the parent.
            rng: draws the edits.
            edits: how many, on average (1 + a Poisson number).
            branches: whether edits put in branches.
        """
        kinds = 6 if branches and self._joins else 5
        for _ in range(1 + int(rng.poisson(max(edits - 1, 0.0)))):
            genome = self._edited(genome, rng, kinds)
        return genome

    def neighbour(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """A genome that differs in one gene or one branch; the output stays the last.

        As likely as each other, where they are possible: a gene is put in, taken out, moved, replaced by any or by one
        of its family; a branch (a push and what joins it) is put in, or one is taken out. What a gene put in or
        replaced by any becomes is drawn evenly among all legal actions, which may be what it was.
        """
        kinds = [self._with_one_more, self._with_one_less, self._replaced, self._replaced_by_relative]
        if len(genome) > _FEWEST_TO_MOVE:
            kinds.append(self._moved)
        if self._joins:
            kinds.append(self._with_branch)
        if any(gene.source >= 0 for gene in genome):
            kinds.append(self._pruned)
        return kinds[int(rng.integers(len(kinds)))](genome, rng)

    def _with_one_more(self, genome: Genome, rng: np.random.Generator) -> Genome:
        place = int(rng.integers(len(genome)))
        return (*genome[:place], Gene(_EVENLY, label=self._next(genome)), *genome[place:])

    def _with_one_less(self, genome: Genome, rng: np.random.Generator) -> Genome:
        place = _inner(genome, rng)
        return (*genome[:place], *genome[place + 1 :])

    def _replaced(self, genome: Genome, rng: np.random.Generator) -> Genome:
        place = _inner(genome, rng)
        return (*genome[:place], replace(genome[place], action=_EVENLY, source=-1), *genome[place + 1 :])

    def _replaced_by_relative(self, genome: Genome, rng: np.random.Generator) -> Genome:
        place = _inner(genome, rng)
        return (*genome[:place], self._relative(genome[place]), *genome[place + 1 :])

    def _moved(self, genome: Genome, rng: np.random.Generator) -> Genome:
        place = _inner(genome, rng)
        rest = (*genome[:place], *genome[place + 1 :])
        new = int(rng.integers(len(rest) - 1))
        new += new >= place  # anywhere else before the output
        return (*rest[:new], genome[place], *rest[new:])

    def _with_branch(self, genome: Genome, rng: np.random.Generator) -> Genome:
        return self._branched(genome, int(rng.integers(len(genome))), rng)

    def _edited(self, genome: Genome, rng: np.random.Generator, kinds: int) -> Genome:
        kind, place = int(rng.integers(kinds)), int(rng.integers(max(len(genome), 1)))
        if not genome or kind == 0:
            return (*genome[:place], Gene(label=self._next(genome)), *genome[place:])
        gene = genome[place]
        if kind == 1:
            return (*genome[:place], *genome[place + 1 :])
        if kind == 2:
            return (*genome[:place], self._relative(gene), *genome[place + 1 :])
        if kind == 3:
            return (*genome[:place], replace(gene, action=-1, family=-1, source=-1), *genome[place + 1 :])
        if kind == 4:
            return genome[:place]
        return self._branched(genome, place, rng)

    def _branched(self, genome: Genome, place: int, rng: np.random.Generator) -> Genome:
        """A tensor is pushed and joined, at once or further on: what makes residual sums, gates and attention.

        Each half of the time it is the input, and at once.
        """
        labels = [gene.label for gene in genome[:place] if gene.label >= 0]
        source = labels[rng.integers(len(labels))] if labels and rng.random() < _HALF else _INPUT
        end = place if rng.random() < _HALF else int(rng.integers(place, len(genome)))
        push = Gene(self._pushes[0], source=source)
        join = Gene(family=int(rng.choice(self._joins)), label=self._next(genome))
        return (*genome[:place], push, *genome[place:end], join, *genome[end:])

    def _pruned(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """A push is taken out with what joins its tensor to the rest, and half of the time all that is between them."""
        pushes = [place for place, gene in enumerate(genome) if gene.source >= 0]
        start = pushes[int(rng.integers(len(pushes)))]
        between = genome[start + 1 : self._join(genome, start)]
        return (*genome[:start], *(between if rng.random() < _HALF else ()), *genome[start + 1 + len(between) + 1 :])

    def _join(self, genome: Genome, push: int) -> int:
        """Where the tensor of a push, or what was made of it, is joined to what lay below."""
        depth = 1
        for place in range(push + 1, len(genome)):
            depth += self._grows(genome[place])
            if depth == 0:
                return place
        raise ValueError("not a whole program: what is pushed is never joined")

    def _grows(self, gene: Gene) -> int:
        """How many tensors more than before are on the stack after a gene."""
        return 1 if gene.source >= 0 else 1 - self.space.arity(gene.action)

    def _relative(self, gene: Gene) -> Gene:
        family = gene.family if gene.action < 0 else int(self.space.family_of[gene.action])
        return replace(gene, action=-1, family=family, source=-1)

    @staticmethod
    def _next(genome: Genome) -> int:
        return 1 + max((max(gene.label, gene.source) for gene in genome), default=_INPUT)

    def cross(self, first: Sequence[str], second: Sequence[str], rng: np.random.Generator) -> Genome:
        """The beginning of one program and the end of another, each cut where one tensor is on the stack.

        Pushes of the second parent's end that name a tensor of its beginning take the tensor at the cut.
        """
        head = self.genome(first)
        tail = self.genome(second, first=self._next(head))
        cut, start = self._cut(head, rng), self._cut(tail, rng)
        at_cut = next((gene.label for gene in reversed(head[:cut]) if gene.label >= 0), _INPUT)
        kept = {_INPUT, *(gene.label for gene in tail[start:])}
        joined = (
            replace(gene, source=at_cut) if gene.source >= 0 and gene.source not in kept else gene
            for gene in tail[start:]
        )
        return (*head[:cut], *joined)

    def _cut(self, genome: Genome, rng: np.random.Generator) -> int:
        """A place where one tensor is on the stack, drawn evenly."""
        depth, places = 1, [0]
        for place, gene in enumerate(genome[:-1], start=1):
            depth += self._grows(gene)
            if depth == 1:
                places.append(place)
        return places[int(rng.integers(len(places)))]
