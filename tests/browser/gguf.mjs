// Model files taken apart and put together again, so that tests can damage or split them.

export const KIND = { u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10, i64: 11, f64: 12 };
const WIDTH = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
export const TYPE = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 8 };
// Elements and bytes of a block.
const BLOCKS = { 0: [1, 4], 1: [1, 2], 2: [32, 18], 8: [32, 34] };
const ALIGNMENT = 32;

/** `{ keys: [{ name, kind, value }], tensors: [{ name, dims, type, data }], at }`; `at`: where fields stand in the file. */
export function parse(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let position = 8;
  const u32 = () => view.getUint32((position += 4) - 4, true);
  const u64 = () => Number(view.getBigUint64((position += 8) - 8, true));
  const raw = (length) => bytes.subarray(position, (position += length));
  const string = () => raw(u64()).toString("utf8");
  const value = (kind) => {
    if (kind === KIND.string) return string();
    if (kind !== KIND.array) return raw(WIDTH[kind]);
    const of = u32();
    return { of, items: Array.from({ length: u64() }, () => value(of)) };
  };
  const at = { tensorCount: 8, keyCount: 16, keys: {}, tensors: {} };
  const tensorCount = u64();
  const keyCount = u64();
  const keys = Array.from({ length: keyCount }, () => {
    const start = position;
    const name = string();
    at.keys[name] = start;
    const kind = u32();
    return { name, kind, value: value(kind) };
  });
  const tensors = Array.from({ length: tensorCount }, () => {
    const place = { entry: position };
    const name = string();
    place.dimCount = position;
    const dims = Array.from({ length: u32() }, u64);
    place.type = position;
    const type = u32();
    place.offset = position;
    at.tensors[name] = place;
    return { name, dims, type, offset: u64() };
  });
  at.indexEnd = position;
  at.data = Math.ceil(position / ALIGNMENT) * ALIGNMENT;
  for (const tensor of tensors) {
    const start = at.data + tensor.offset;
    at.tensors[tensor.name].data = start;
    tensor.data = bytes.subarray(start, start + size(tensor));
  }
  return { keys, tensors, at };
}

function size({ dims, type }) {
  const [elements, width] = BLOCKS[type];
  return (dims.reduce((product, dim) => product * dim, 1) / elements) * width;
}

/** The file of `keys` and `tensors`. */
export function write({ keys, tensors }) {
  const sized = tensors.map((tensor) => ({ ...tensor, bytes: tensor.data.length }));
  const parts = [header({ keys, tensors: sized })];
  for (const { data } of tensors) parts.push(data, Buffer.alloc(padded(data.length) - data.length));
  return Buffer.concat(parts);
}

/** What stands before the data of tensors that take so many `bytes`, each of which begins where `padded` ends the last. */
export function header({ keys, tensors }) {
  const parts = [];
  const u32 = (value) => parts.push(number(value, 4));
  const u64 = (value) => parts.push(number(value, 8));
  const string = (text) => {
    const bytes = Buffer.from(text, "utf8");
    u64(bytes.length);
    parts.push(bytes);
  };
  const put = (kind, value) => {
    if (kind === KIND.string) return string(value);
    if (kind !== KIND.array) return parts.push(value);
    u32(value.of);
    u64(value.items.length);
    for (const item of value.items) put(value.of, item);
  };
  parts.push(Buffer.from("GGUF"));
  u32(3);
  u64(tensors.length);
  u64(keys.length);
  for (const { name, kind, value } of keys) {
    string(name);
    u32(kind);
    put(kind, value);
  }
  let offset = 0;
  for (const { name, dims, type, bytes } of tensors) {
    string(name);
    u32(dims.length);
    dims.forEach(u64);
    u32(type);
    u64(offset);
    offset += padded(bytes);
  }
  const all = Buffer.concat(parts);
  return Buffer.concat([all, Buffer.alloc(padded(all.length) - all.length)]);
}

/** The parts of a split model, as llama.cpp's gguf-split writes them: the first has all of the model's keys. */
export function split(bytes, count) {
  const { keys, tensors } = parse(bytes);
  const share = Math.ceil(tensors.length / count);
  return Array.from({ length: count }, (_, index) =>
    write({
      keys: [
        ...(index === 0 ? keys : []),
        { name: "split.no", kind: KIND.u16, value: number(index, 2) },
        { name: "split.count", kind: KIND.u16, value: number(count, 2) },
        { name: "split.tensors.count", kind: KIND.i32, value: number(tensors.length, 4) },
      ],
      tensors: tensors.slice(index * share, (index + 1) * share),
    }),
  );
}

/** The same tensor with Q8_0 weights, each block's scale as given. */
export function asQ8(tensor, scale) {
  const blocks = tensor.dims.reduce((product, dim) => product * dim, 1) / 32;
  const data = Buffer.alloc(blocks * 34, 1);
  for (let block = 0; block < blocks; block++) data.writeUInt16LE(scale, block * 34);
  return { ...tensor, type: TYPE.Q8_0, data };
}

/** The same tensor of F32 rounded to Q8_0, with one scale, a power of two, for all blocks. */
export function roundedToQ8(tensor) {
  const values = new Float32Array(Uint8Array.from(tensor.data).buffer);
  const largest = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const exponent = Math.ceil(Math.log2(largest / 127));
  const rounded = asQ8(tensor, (exponent + 15) << 10);
  values.forEach((value, i) => rounded.data.writeInt8(Math.round(value / 2 ** exponent), Math.floor(i / 32) * 34 + 2 + (i % 32)));
  return rounded;
}

export function number(value, width) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return bytes.subarray(0, width);
}

/** Up to where a tensor's data are filled up. */
export function padded(length) {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}
