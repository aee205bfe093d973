"""SmolLM2 as ONNX with 4-bit weights, out of the GGUF file that wisplm reads.

The graph is the one that onnxruntime-genai's builder makes of a llama for WebGPU: `MatMulNBits` in blocks of 32,
`GroupQueryAttention` with the rotation inside, norms fused with the sums before them. Logits are made of as many last
tokens as `num_logits_to_keep` says, for which transformers.js asks with one.

Usage: smollm2.py GGUF_FILE PACKAGE OUTPUT
"""

import json
import sys
from pathlib import Path

import numpy

from file import File
from graph import FLOAT, INT32, INT64, Graph

BLOCK = 32


def halves(matrix, heads):
    """The rows of a head, which llama.cpp keeps in pairs that are rotated together, as ONNX wants them: in two halves."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def quantized(matrix):
    """Codes of 4 bits (two in a byte, the first one low), scales and zero points, block by block: `scale (code - zero)`."""
    rows, columns = matrix.shape
    blocks = matrix.reshape(rows, columns // BLOCK, BLOCK)
    low = numpy.minimum(blocks.min(axis=2), 0)
    high = numpy.maximum(blocks.max(axis=2), 0)
    scale = ((high - low) / 15).astype(numpy.float32)
    scale[scale == 0] = 1
    zero = numpy.clip(numpy.rint(-low / scale), 0, 15)
    code = numpy.clip(numpy.rint(blocks / scale[..., None]) + zero[..., None], 0, 15).astype(numpy.uint8)
    zero = zero.astype(numpy.uint8)
    return code[..., 0::2] | code[..., 1::2] << 4, scale, zero[:, 0::2] | zero[:, 1::2] << 4


class Writer(Graph):
    def product(self, name, x, matrix):
        rows, columns = matrix.shape
        parts = zip(("codes", "scales", "zeros"), quantized(matrix))
        weights = [self.constant(f"{name}.{part}", values) for part, values in parts]
        shape = {"K": columns, "N": rows, "bits": 4, "block_size": BLOCK}
        return self.node("MatMulNBits", [x, *weights], name, True, **shape)


def write(source, _, folder):
    file = File(source)
    layers = file.value("llama.block_count")
    heads = file.value("llama.attention.head_count")
    groups = file.value("llama.attention.head_count_kv")
    width = file.value("llama.embedding_length")
    context = file.value("llama.context_length")
    base = file.value("llama.rope.freq_base")
    epsilon = file.value("llama.attention.layer_norm_rms_epsilon")
    vocabulary = file.value("llama.vocab_size")
    size = width // heads

    graph = Writer()
    graph.input("input_ids", INT64, ["batch_size", "length"])
    graph.input("attention_mask", INT64, ["batch_size", "total"])
    graph.input("num_logits_to_keep", INT64, [])
    graph.output("logits", FLOAT, ["batch_size", "kept", vocabulary])

    embedding = file.tensor("token_embd.weight")
    x = graph.node("Gather", [graph.constant("embedding", embedding), "input_ids"], "x")

    # How many tokens each sequence has before the last one, and how many the longest has.
    one = graph.constant("one", numpy.array([1], numpy.int64))
    counts = graph.node("ReduceSum", ["attention_mask", one], "counts")
    before = graph.node("Sub", [counts, one], "before64")
    before = graph.node("Cast", [before], "before", to=INT32)
    shape = graph.node("Shape", ["attention_mask"], "mask_shape")
    total = graph.node("Gather", [shape, graph.constant("one_scalar", numpy.array(1, numpy.int64))], "total64", axis=0)
    total = graph.node("Cast", [total], "total", to=INT32)

    angles = numpy.outer(numpy.arange(context), base ** (-numpy.arange(0, size, 2) / size))
    cosines = graph.constant("cosines", numpy.cos(angles).astype(numpy.float32))
    sines = graph.constant("sines", numpy.sin(angles).astype(numpy.float32))

    def norm(name, tensor, x, added=None):
        weight = graph.constant(f"{name}.weight", file.tensor(tensor))
        if added is None:
            return graph.node("SimplifiedLayerNormalization", [x, weight], name, epsilon=epsilon, axis=-1), x
        outputs = [name, "", "", f"{name}.sum"]
        graph.node("SkipSimplifiedLayerNormalization", [x, added, weight], outputs, True, epsilon=epsilon)
        return name, f"{name}.sum"

    added = None
    for layer in range(layers):
        at = lambda part: f"blk.{layer}.{part}"
        tensor = lambda part: file.tensor(f"blk.{layer}.{part}.weight")
        normed, x = norm(at("attn_norm"), at("attn_norm.weight"), x, added)
        query, key = halves(tensor("attn_q"), heads), halves(tensor("attn_k"), groups)
        qkv = graph.product(at("qkv"), normed, numpy.concatenate([query, key, tensor("attn_v")]))
        kept = [["batch_size", groups, "past", size], ["batch_size", groups, "total", size]]
        past = [graph.input(f"past_key_values.{layer}.{one}", FLOAT, kept[0]) for one in ("key", "value")]
        present = [f"present.{layer}.{one}" for one in ("key", "value")]
        for name in present:
            graph.output(name, FLOAT, kept[1])
        inputs = [qkv, None, None, *past, before, total, cosines, sines]
        how = {"num_heads": heads, "kv_num_heads": groups, "scale": size**-0.5, "do_rotary": 1, "rotary_interleaved": 0}
        mixed, *_ = graph.node("GroupQueryAttention", inputs, [at("attended"), *present], True, **how)
        mixed = graph.product(at("attn_output"), mixed, tensor("attn_output"))
        normed, x = norm(at("ffn_norm"), at("ffn_norm.weight"), x, mixed)
        gate = graph.product(at("ffn_gate"), normed, tensor("ffn_gate"))
        up = graph.product(at("ffn_up"), normed, tensor("ffn_up"))
        gate = graph.node("Mul", [gate, graph.node("Sigmoid", [gate], at("sigmoid"))], at("silu"))
        product = graph.node("Mul", [gate, up], at("gated"))
        added = graph.product(at("ffn_down"), product, tensor("ffn_down"))

    normed, _ = norm("output_norm", "output_norm.weight", x, added)
    # The last rows only, of which the logits are asked for.
    first = graph.node("Neg", ["num_logits_to_keep"], "first0")
    first = graph.node("Reshape", [first, one], "first")
    last = graph.constant("last", numpy.array([2**62], numpy.int64))
    kept = graph.node("Slice", [normed, first, last, one], "kept_rows")
    graph.product("logits", kept, embedding)

    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    graph.save("smollm2", folder / "onnx/model_q4.onnx")
    # Without tokens that end an answer: as many are made as are asked for.
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": width,
        "intermediate_size": file.value("llama.feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": size,
        "max_position_embeddings": context,
        "rms_norm_eps": epsilon,
        "rope_theta": base,
        "vocab_size": vocabulary,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "generation_config.json").write_text("{}")


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
