"""Graphs of ONNX nodes, written one after the other."""

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
# What onnxruntime-web 1.31 reads; the fused nodes are of its own domain.
OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
IR_VERSION = 9


class Graph:
    """Each node's output is a name; `None` as an input is one that is left out."""

    def __init__(self):
        self.nodes = []
        self.constants = []
        self.inputs = []
        self.outputs = []

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(numpy.ascontiguousarray(values), name))
        return name

    def input(self, name, kind, shape):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name, kind, shape):
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def node(self, kind, inputs, outputs, fused=False, **attributes):
        """`outputs`: a name, or several; returns it."""
        names = [outputs] if isinstance(outputs, str) else outputs
        inputs = [name or "" for name in inputs]
        domain = MICROSOFT if fused else ""
        self.nodes.append(helper.make_node(kind, inputs, names, name=names[0], domain=domain, **attributes))
        return outputs

    def save(self, name, path):
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=IR_VERSION, producer_name="wisplm"), path)


FLOAT = TensorProto.FLOAT
INT64 = TensorProto.INT64
INT32 = TensorProto.INT32
