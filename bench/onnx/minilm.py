"""all-MiniLM-L6-v2 as ONNX, out of the GGUF file that wisplm reads: in float32, and in bytes by dynamic quantization.

The nodes are those that onnxruntime's own optimizer fuses an exported BERT into.

Usage: minilm.py GGUF_FILE PACKAGE OUTPUT    PACKAGE: the package that it came in, unpacked
"""

import shutil
import sys
from pathlib import Path

import numpy
from onnxruntime.quantization import QuantType, quantize_dynamic

from file import File
from graph import FLOAT, INT32, INT64, Graph

# What transformers.js reads beside the model, as the model's authors wrote it.
BESIDE = ("config.json", "tokenizer.json", "tokenizer_config.json")


def write(source, package, folder):
    file = File(source)
    heads = file.value("bert.attention.head_count")
    width = file.value("bert.embedding_length")
    epsilon = file.value("bert.attention.layer_norm_epsilon")

    graph = Graph()
    shape = ["batch_size", "length"]
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        graph.input(name, INT64, shape)
    graph.output("last_hidden_state", FLOAT, [*shape, width])
    constant = lambda name: graph.constant(name, file.tensor(name))
    # Matrices of `x W`, where the file has those of `W x`.
    turned = lambda name, *parts: graph.constant(name, numpy.concatenate([file.tensor(part) for part in parts or (name,)]).T)

    zero = graph.constant("zero", numpy.array([0], numpy.int64))
    mask = graph.node("Cast", ["attention_mask"], "mask", to=INT32)
    length = graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    words = graph.node("Gather", [constant("token_embd.weight"), "input_ids"], "words")
    types = graph.node("Gather", [constant("token_types.weight"), "token_type_ids"], "types")
    places = graph.node("Slice", [constant("position_embd.weight"), zero, length, zero], "places")
    x = graph.node("Add", [graph.node("Add", [words, types], "words_types"), places], "sum")
    norm = [constant(f"token_embd_norm.{part}") for part in ("weight", "bias")]
    x = graph.node("LayerNormalization", [x, *norm], "x", epsilon=epsilon, axis=-1)

    for layer in range(file.value("bert.block_count")):
        at = lambda part: f"blk.{layer}.{part}"
        three = [at(f"attn_{part}") for part in "qkv"]
        weight = turned(at("attn_qkv.weight"), *(f"{part}.weight" for part in three))
        bias = graph.constant(at("attn_qkv.bias"), numpy.concatenate([file.tensor(f"{part}.bias") for part in three]))
        mixed = graph.node("Attention", [x, weight, bias, mask], at("attended"), True, num_heads=heads)

        def added(name, y, norm):
            product = graph.node("MatMul", [y, turned(at(f"{name}.weight"))], at(f"{name}.product"))
            scale = [constant(at(f"{norm}.{part}")) for part in ("weight", "bias")]
            inputs = [product, x, *scale, constant(at(f"{name}.bias"))]
            return graph.node("SkipLayerNormalization", inputs, at(norm), True, epsilon=epsilon)

        x = added("attn_output", mixed, "attn_output_norm")
        up = graph.node("MatMul", [x, turned(at("ffn_up.weight"))], at("ffn_up.product"))
        up = graph.node("BiasGelu", [up, constant(at("ffn_up.bias"))], at("gelu"), True)
        x = added("ffn_down", up, "layer_output_norm")
    graph.node("Identity", [x], "last_hidden_state")

    for name in BESIDE:
        shutil.copy(next(package.glob(f"*/model/{name}")), folder / name)
    (folder / "onnx").mkdir()
    graph.save("minilm", folder / "onnx/model.onnx")
    # The fused nodes' results have no types to be inferred.
    how = {"per_channel": True, "weight_type": QuantType.QInt8, "extra_options": {"DefaultTensorType": FLOAT}}
    quantize_dynamic(folder / "onnx/model.onnx", folder / "onnx/model_quantized.onnx", **how)


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
