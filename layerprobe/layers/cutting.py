"""Networks that are cut at a layer: what comes behind it as a network of its own, and another end in its place.

Only the forward passes of the modules around the layer are traced (``torch.fx``); every other module stays as it is,
with its name and its weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy

import torch
from torch import fx, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.taps import Tap


def cut_behind(network: nn.Module, layer: str) -> fx.GraphModule:
    """What a network does with the output of a layer, as a network of its own with copies of the weights.

    Args:
        network: it is left as it was.
        layer: name of a layer that is a module's output, or its input.

    Returns:
        A network from that layer's output, as the network itself passes it on, to what the network returns. Its
        modules have the names that they have in the network.

    Raises:
        LayerprobeError: if it can't be cut there.
    """
    graph, cut = _trace(network, layer)
    (output,) = (node for node in graph.nodes if node.op == "output")
    needed = _needed(output, without=cut)
    if any(node.op == "placeholder" for node in needed):
        raise LayerprobeError(f"a connection bypasses {layer!r}")
    if cut not in needed:
        raise LayerprobeError(f"what the network returns does not depend on {layer!r}")
    behind = fx.Graph()
    copies = {cut: behind.placeholder("features")}
    for node in graph.nodes:
        if node in needed and node is not cut:
            copies[node] = behind.node_copy(node, lambda one: copies[one])
    return deepcopy(fx.GraphModule(network, behind))


def with_other_end(network: nn.Module, layer: str, end: Mapping[str, nn.Module]) -> fx.GraphModule:
    """A network up to a layer, and other modules behind it.

    Args:
        network: its modules up to the layer are taken over, and keep their names.
        layer: as ``cut_behind`` has it.
        end: the modules that follow, each called with the output of the one before, by the names that they get.

    Raises:
        LayerprobeError: if it can't be cut there.
    """
    graph, cut = _trace(network, layer)
    (output,) = (node for node in graph.nodes if node.op == "output")
    last = cut
    for name, module in end.items():
        if hasattr(network, name):
            raise LayerprobeError(f"the network has {name!r} already")
        network.add_module(name, module)
        with graph.inserting_before(output):
            last = graph.call_module(name, (last,))
    output.args = (last,)
    needed = _needed(output)
    for node in reversed(graph.nodes):
        if node not in needed and node.op != "placeholder":
            graph.erase_node(node)
    return fx.GraphModule(network, graph)


class _Tracer(fx.Tracer):
    """Traces the forward passes of some modules, and calls every other as a whole."""

    def __init__(self, inside: Collection[str]) -> None:
        super().__init__()
        self._inside = inside

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is called as a whole."""
        return module_qualified_name not in self._inside


def _trace(network: nn.Module, layer: str) -> tuple[fx.Graph, fx.Node]:
    """The calls of a forward pass around a layer, and the one that gives the layer's output."""
    tap = Tap.of(layer)
    if tap.function:
        raise LayerprobeError(f"{layer!r} is what a function gives, and no module's output")
    parts = tap.module.split(".")
    around = {".".join(parts[:number]) for number in range(1, len(parts))}
    graphs = [_trace_in_mode(network, around, training, layer) for training in (True, False)]
    if len({str(graph) for graph in graphs}) > 1:
        raise LayerprobeError(f"a module around {layer!r} does something else in training")
    graph = graphs[-1]
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == tap.module]
    if len(calls) < tap.call:
        raise LayerprobeError(f"no module calls {layer!r} where a trace can see it")
    call = calls[tap.call - 1]
    found = call.args[0] if tap.takes_input else call
    if not isinstance(found, fx.Node):
        raise LayerprobeError(f"{layer!r} is called without a tensor")
    return graph, found


def _trace_in_mode(network: nn.Module, around: Collection[str], training: bool, layer: str) -> fx.Graph:
    modes = {module: module.training for module in network.modules()}
    network.train(training)
    try:
        return _Tracer(around).trace(network)
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError, ValueError, AttributeError, LookupError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LayerprobeError(f"the forward pass around {layer!r} can't be traced: {reason}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode


def _needed(output: fx.Node, without: fx.Node | None = None) -> set[fx.Node]:
    """The calls that an output is computed from, itself among them; none of those before ``without``."""
    needed: set[fx.Node] = set()
    waiting = [output]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += [] if node is without else node.all_input_nodes
    return needed
