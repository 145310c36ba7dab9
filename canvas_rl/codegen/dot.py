"""Graphviz text of a kernel graph."""

from canvas_rl.ir import KernelGraph


def to_dot(graph: KernelGraph) -> str:
    """The graph in Graphviz's dot language; weighted primitives are filled."""
    lines = [
        f"digraph {graph.name} {{",
        '  node [shape=box, style="rounded", fontname="sans-serif", fontsize=11];',
        '  edge [fontname="sans-serif", fontsize=9];',
    ]
    for index, node in enumerate(graph.nodes):
        fill = ', style="rounded,filled", fillcolor="#dbeafe"' if node.primitive.weighted else ""
        lines.append(f'  n{index} [label="{node.primitive.describe()}\\n{node.shape}"{fill}];')
        for position, operand in enumerate(node.inputs):
            label = f' [label="{("lhs", "rhs")[position]}"]' if len(node.inputs) > 1 else ""
            lines.append(f"  n{operand} -> n{index}{label};")
    return "\n".join([*lines, "}"]) + "\n"
