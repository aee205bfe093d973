// Writes what llama.cpp makes of generated strings, and for some vocabularies tiktoken, for tests/tokenizer_llama_cpp.rs
// to compare with.
//
//     npm install --no-save --ignore-scripts --omit=optional && node expected.mjs [name ...]
//
// (Not `npm ci`: it wants the prebuilt binaries of every platform in the lock file, also those to be omitted, and
// not every registry has them. Installing takes the versions of the lock file too.)
//
// llama.cpp comes prebuilt with node-llama-cpp, and so does its source as a git bundle, which holds the
// vocabularies of several families. Those have their models' licences: they are taken out of the bundle here and
// never committed. js-tiktoken ships those of OpenAI, mistral-common those of Mistral. The latter and the two real models
// come from `make models`.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Tiktoken } from "js-tiktoken/lite";
import cl100k from "js-tiktoken/ranks/cl100k_base";
import gpt2 from "js-tiktoken/ranks/gpt2";
import o200k from "js-tiktoken/ranks/o200k_base";
import { getLlama } from "node-llama-cpp";
import { strings } from "./strings.mjs";
import { byteLevel, sentencePiece, tekken } from "./vocabularies.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = fileURLToPath(new URL("../../target/tokenizer/", import.meta.url));
const models = process.env.WISPLM_MODELS || join(homedir(), ".cache/wisplm/models");
const bundled = ["llama-bpe", "llama-spm", "qwen2", "qwen35", "gemma-4", "phi-3", "bert-bge"];

/** Lines of the table of pre-tokenizers for which no vocabulary is at hand: Llama 3's gets their name. */
const renamed = ["default", "smaug-bpe"];

/** Members of mistral-common's wheel. */
const spm = {
    "mistral-v1": "tokenizer.model.v1",
    "mistral-v3": "mistral_instruct_tokenizer_240323.model.v3",
    "mistral-v7": "mistral_instruct_tokenizer_241114.model.v7",
};

/** Vocabularies of tiktoken's kind: the ranks, the pre-tokenizer, and what begins and ends a text. */
const tiktoken = {
    "gpt-2": () => ({ ranks: gpt2, pre: "gpt-2", ids: { bos: 50256, eos: 50256 } }),
    // DBRX has them.
    cl100k: () => ({ ranks: cl100k, pre: "dbrx", ids: { bos: 100257, eos: 100257 } }),
    // Phi-4-mini has them.
    o200k: () => ({ ranks: o200k, pre: "gpt-4o", ids: { bos: 199999, eos: 199999 } }),
    tekken: () => ({ ranks: tekken(member("tekken_240911.json")), pre: "tekken", ids: { bos: 1, eos: 2 } }),
};

/** Texts longer than this take js-tiktoken, which is quadratic in the length of a word, too long. */
const LONG = 400;

const vocabularies = new Map([
    ["smollm2", join(models, "SmolLM2-135M-Instruct.Q4_1.gguf")],
    ["gemma-3", join(models, "gemma-3-270m-q4_k_m.gguf")],
    ...bundled.map((name) => [name, join(out, `llama.cpp/models/ggml-vocab-${name}.gguf`)]),
    ...[...Object.keys(spm), ...Object.keys(tiktoken)].map((name) => [name, join(out, `${name}.gguf`)]),
    ...renamed.map((name) => [`llama-bpe-as-${name}`, join(out, `llama-bpe-as-${name}.gguf`)]),
]);

/** Takes the bundled vocabularies, and the chat templates that tests/chat.rs renders, out of the git bundle. */
function unbundle() {
    const repository = join(out, "llama.cpp");
    if (existsSync(join(repository, "models/templates")) && bundled.every((name) => existsSync(vocabularies.get(name))))
        return;
    const git = (...args) => execFileSync("git", ["-c", "init.defaultBranch=main", ...args], { stdio: ["ignore", "ignore", "inherit"] });
    if (!existsSync(join(repository, ".git"))) {
        git("clone", "--quiet", "--no-checkout", join(here, "node_modules/node-llama-cpp/llama/gitRelease.bundle"), repository);
    }
    git("-C", repository, "checkout", "--quiet", "HEAD", "--", "models/templates", ...bundled.map((name) => `models/ggml-vocab-${name}.gguf`));
}

/** Writes a copy of a vocabulary that names another pre-tokenizer. */
function rename(from, name, to) {
    const file = readFileSync(from);
    const string = (text) => {
        const length = Buffer.alloc(8);
        length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
        return Buffer.concat([length, Buffer.from(text)]);
    };
    const entry = (value) => Buffer.concat([string("tokenizer.ggml.pre"), Buffer.from([8, 0, 0, 0]), string(value)]);
    const old = entry("llama-bpe");
    const at = file.indexOf(old);
    if (at < 0)
        throw new Error(`${from} does not name the pre-tokenizer llama-bpe`);
    // The file holds no tensors, so nothing has to stay aligned.
    writeFileSync(to, Buffer.concat([file.subarray(0, at), entry(name), file.subarray(at + old.length)]));
}

/** A file of mistral-common. */
function member(name) {
    const wheel = join(models, "mistral_common-1.13.1.whl");
    if (!existsSync(wheel))
        throw new Error(`${wheel} is missing: run \`make models\``);
    const script = "import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))";
    return execFileSync("python3", ["-c", script, wheel, `mistral_common/data/${name}`], { maxBuffer: 2 ** 26 });
}

/** Writes a vocabulary, unless it is there. */
function made(name, write) {
    const path = vocabularies.get(name);
    if (existsSync(path))
        return;
    writeFileSync(`${path}.part`, write());
    renameSync(`${path}.part`, path);
}

/** What tiktoken makes of texts without control tokens. Its white space is Unicode's, which JavaScript's is not quite. */
function ranked(ranks, texts) {
    const pat_str = ranks.pat_str.replaceAll("\\s", "\\p{White_Space}").replaceAll("\\S", "\\P{White_Space}");
    const encoder = new Tiktoken({ ...ranks, pat_str });
    return texts.map((text) => (text.length > LONG ? null : encoder.encode(text, [], [])));
}

/** Texts of special tokens, spread over the whole list. */
function ownTokens(model) {
    const { vocabularyType: _, ...info } = model.fileInfo.metadata.tokenizer.ggml;
    const special = info.tokens.filter((_, id) => [2, 3, 4].includes(info.token_type[id]));
    const step = Math.max(1, Math.floor(special.length / 60));
    return special.filter((_, index) => index % step === 0 || index < 20);
}

async function expect(llama, name, path) {
    if (!existsSync(path))
        throw new Error(`${path} is missing: run \`make models\``);
    const model = await llama.loadModel({ modelPath: path, vocabOnly: true });
    const size = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
    const texts = strings(ownTokens(model));
    const file = join(out, `${name}.json`);
    // Under another name until it is whole: a run that was stopped must not leave half a file.
    writeFileSync(`${file}.part`, JSON.stringify({
        path,
        bos: model.tokens.shouldPrependBosToken ? model.tokens.bos : null,
        ends: Array.from({ length: size }, (_, id) => id).filter((id) => model.isEogToken(id)),
        texts,
        plain: texts.map((text) => Array.from(model.tokenize(text, false))),
        special: texts.map((text) => Array.from(model.tokenize(text, true))),
        ...(name in tiktoken && { tiktoken: ranked(tiktoken[name]().ranks, texts) }),
    }));
    renameSync(`${file}.part`, file);
    await model.dispose();
    console.log(`${name}: ${texts.length} strings`);
}

mkdirSync(out, { recursive: true });
unbundle();
for (const name of renamed)
    rename(vocabularies.get("llama-bpe"), name, vocabularies.get(`llama-bpe-as-${name}`));
for (const [name, file] of Object.entries(spm))
    made(name, () => sentencePiece(member(file)));
for (const [name, vocabulary] of Object.entries(tiktoken)) {
    made(name, () => {
        const { ranks, pre, ids } = vocabulary();
        return byteLevel(ranks, pre, ids);
    });
}
const llama = await getLlama({ gpu: false, build: "never", logLevel: "disabled" });
for (const [name, path] of vocabularies) {
    if (process.argv.length === 2 || process.argv.includes(name))
        await expect(llama, name, path);
}
await llama.dispose();
