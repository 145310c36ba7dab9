"""Which actions are legal in one state: those that apply and after which the kernel can certainly be finished."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canvas_rl.errors import GraphError
from canvas_rl.space.finish import Branch, Finisher, Plan
from canvas_rl.space.machine import Machine
from canvas_rl.space.moves import Moves
from canvas_rl.space.state import State

_UNFINISHABLE = "the kernel could not be finished within its limits afterwards"


class Legality:
    """The legal actions of one state. Actions with the same effect share one certificate.

    Args:
        machine: the rules.
        finisher: finds finishing programs.
        state: the state.
    """

    def __init__(self, machine: Machine, finisher: Finisher, state: State) -> None:
        self.state = state
        self._machine, self._finisher = machine, finisher
        self._moves = Moves(machine, state)
        self._certificates: dict[tuple[Any, ...], Branch | None] = {}

    def mask(self) -> NDArray[np.bool_]:
        """Which actions are legal."""
        mask = np.zeros(len(self._machine.actions), dtype=np.bool_)
        for index in self._moves.candidates():
            mask[index] = not isinstance(self.plan(index), str)
        return mask

    def plan(self, index: int) -> Plan | str:
        """Why an action is illegal, or, where it is legal, actions that finish the kernel afterwards.

        The plan is empty where the kernel is so far from its limits that none is needed.
        """
        action = self._machine.actions.actions[index]
        if self.state.done:
            return "the kernel is finished"
        if action.fill is not None:
            return self._output(action.fill)
        if action.push is not None:
            return self._push(index, action.push)
        change = self._moves.change(index)
        if isinstance(change, str):
            return change
        if self.state.plan and self.state.plan[0] == index:
            return self.state.plan[1:]
        return self._certified(self._moves.effect(change), partial(self._moves.after, change))

    def _output(self, level: Fraction) -> Plan | str:
        ending = self._moves.ending()
        if isinstance(ending, str):
            return ending
        if level != 1 and not ending[1].witness:
            return "no size is free, so that all fill levels are the same"
        return ()

    def _push(self, index: int, tensor: int) -> Plan | str:
        refusal = self._moves.refused_push(tensor)
        if refusal is not None:
            return refusal
        if self.state.plan and self.state.plan[0] == index:
            return self.state.plan[1:]
        if self.state.remaining < len(self.state.stack):
            return _UNFINISHABLE  # each tensor beneath the top costs a primitive that joins it
        key = ("push", *self._moves.push_effect(tensor))
        return self._certified(key, partial(self._moves.after_push, index, tensor))

    def _certified(self, key: tuple[Any, ...], make: Callable[[], State]) -> Plan | str:
        if key not in self._certificates:
            after = make()
            far = self._finisher.far_from_limits(after)
            self._certificates[key] = None if far else self._finisher.branch(after)
        branch = self._certificates[key]
        plan: Plan | None = () if branch is None else branch.plan()
        return _UNFINISHABLE if plan is None else plan

    def after(self, index: int) -> State:
        """The state after an action; after an output it is not finished yet, but its equation is solved.

        Raises:
            GraphError: the action is illegal; the message says why.
        """
        plan = self.plan(index)
        if isinstance(plan, str):
            raise GraphError(plan)
        action = self._machine.actions.actions[index]
        if action.fill is not None:
            return self._moves.ended()
        if action.push is not None:
            return replace(self._moves.after_push(index, action.push), plan=plan)
        change = self._moves.change(index)
        assert not isinstance(change, str), "a legal action was refused"
        return replace(self._moves.after(change), plan=plan)
