// Vocabularies as other libraries ship them, written as model files without tensors.

import { KIND, number, write } from "../browser/gguf.mjs";

/** What a token is, by the numbers that GGUF shares with SentencePiece. */
const TYPE = { normal: 1, control: 3, unused: 5 };

/** Control tokens of tekken files that name none, in order; the others up to a thousand have a number. */
const TEKKEN_CONTROL =
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]".split(" ");

/** The words of a tekken file, in js-tiktoken's form; control tokens come before them. */
export function tekken(json) {
    const { config, vocab } = JSON.parse(json);
    const first = config.default_num_special_tokens;
    const words = vocab.slice(0, config.default_vocab_size - first).map(({ token_bytes }) => token_bytes);
    const control = Array.from({ length: first }, (_, id) => TEKKEN_CONTROL[id] ?? `<SPECIAL_${id}>`);
    return {
        pat_str: config.pattern,
        bpe_ranks: ["!", first, ...words].join(" "),
        special_tokens: Object.fromEntries(control.map((text, id) => [text, id])),
    };
}

/** The bytes of the words of js-tiktoken's ranks, by id. */
function words(ranks) {
    const words = new Map();
    for (const line of ranks.bpe_ranks.split("\n").filter(Boolean)) {
        const [, first, ...tokens] = line.split(" ");
        tokens.forEach((token, index) => words.set(Number(first) + index, Buffer.from(token, "base64")));
    }
    return words;
}

/** Each byte in GPT-2's alphabet: printable characters of Latin-1 are themselves, the others follow U+0100. */
const ALPHABET = (() => {
    const printable = (byte) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    let moved = 0x100;
    return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : moved++));
})();

/**
 * The model file of js-tiktoken's ranks, cut by the pre-tokenizer `pre`. Ranks say which tokens there are and when each
 * is made, not of which parts; so a merge is written for each two tokens that make a third, as transformers does.
 */
export function byteLevel(ranks, pre, { bos, eos }) {
    const ids = new Map();
    const types = [];
    const put = (text, id, type) => (ids.set(text, id), (types[id] = type));
    for (const [id, bytes] of words(ranks)) put(Array.from(bytes, (byte) => ALPHABET[byte]).join(""), id, TYPE.normal);
    const merges = [];
    for (const [text] of [...ids].sort(([, a], [, b]) => a - b)) {
        const splits = [];
        for (let at = 1; at < text.length; at++) {
            const [left, right] = [text.slice(0, at), text.slice(at)];
            if (ids.has(left) && ids.has(right)) splits.push([left, right]);
        }
        splits.sort((a, b) => ids.get(a[0]) - ids.get(b[0]) || ids.get(a[1]) - ids.get(b[1]));
        for (const split of splits) merges.push(split.join(" "));
    }
    for (const [text, id] of Object.entries(ranks.special_tokens)) put(text, id, TYPE.control);
    for (let id = 0; id < types.length; id++) if (types[id] === undefined) put(`[PAD${id}]`, id, TYPE.unused);
    const tokens = [];
    for (const [text, id] of ids) tokens[id] = text;
    return file("gpt2", pre, tokens, types, [strings("merges", merges), u32("bos_token_id", bos), u32("eos_token_id", eos)]);
}

/** The model file of a SentencePiece model. */
export function sentencePiece(bytes) {
    const tokens = [], scores = [], types = [];
    for (const [field, piece] of fields(bytes)) {
        if (field !== 1) continue;
        const { 1: text, 2: score, 3: type } = Object.fromEntries(fields(piece));
        tokens.push(text.toString());
        scores.push(score?.readFloatLE() ?? 0);
        types.push(type ?? TYPE.normal);
    }
    const value = { of: KIND.f32, items: scores.map((score) => Buffer.from(Float32Array.of(score).buffer)) };
    const more = [u32("bos_token_id", 1), u32("eos_token_id", 2), u32("unknown_token_id", 0)];
    return file("llama", "default", tokens, types, [{ name: key("scores"), kind: KIND.array, value }, ...more]);
}

/** The fields of a message of Protocol Buffers: numbers, or bytes. */
function* fields(bytes) {
    let at = 0;
    const varint = () => {
        for (let value = 0, scale = 1; ; scale *= 128) {
            const byte = bytes[at++];
            value += (byte & 127) * scale;
            if (byte < 128) return value;
        }
    };
    while (at < bytes.length) {
        const tag = varint();
        const kind = tag & 7;
        if (kind === 0) {
            yield [tag >> 3, varint()];
            continue;
        }
        const length = { 1: () => 8, 2: varint, 5: () => 4 }[kind]();
        yield [tag >> 3, bytes.subarray(at, (at += length))];
    }
}

const key = (name) => `tokenizer.ggml.${name}`;
const u32 = (name, value) => ({ name: key(name), kind: KIND.u32, value: number(value, 4) });
const string = (name, value) => ({ name, kind: KIND.string, value });
const strings = (name, items) => ({ name: key(name), kind: KIND.array, value: { of: KIND.string, items } });

function file(model, pre, tokens, types, more) {
    const type = { of: KIND.i32, items: types.map((type) => number(type, 4)) };
    const keys = [
        string("general.architecture", "llama"),
        string(key("model"), model),
        string(key("pre"), pre),
        strings("tokens", tokens),
        { name: key("token_type"), kind: KIND.array, value: type },
        ...more,
    ];
    return write({ keys, tensors: [] });
}
