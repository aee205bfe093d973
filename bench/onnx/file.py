"""The GGUF file that a graph's weights come from."""

import gguf
import numpy


class File:
    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}

    def value(self, key):
        return self.reader.fields[key].contents()

    def tensor(self, name):
        """In float32, whatever its format is."""
        tensor = self.tensors[name]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        return values.reshape([int(size) for size in reversed(tensor.shape)])
