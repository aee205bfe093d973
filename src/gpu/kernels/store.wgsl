fn put(at: u32, word: u32, values: Values, largest: f32) {
  kv[at + word] = pack(values, largest);
  if (SCALED && word % 8u == 0u) {
    kv[at + WORDS + word / 8u] = bitcast<u32>(largest);
  }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = now.first + group.y;
  let index = group.x * 64u + lane;
  if (index >= params.heads * WORDS) {
    return;
  }
  let head = index / WORDS;
  let word = index % WORDS;
  let i = row * params.k_stride + head * DIM;
  let j = row * params.v_stride + head * DIM;
  let at = (head * params.capacity + (now.start + group.y) % params.capacity) * ROW;
  put(at, word, k_word(i, word), k_largest(i, word));
  put(params.heads * params.capacity * ROW + at, word, v_word(j, word), v_largest(j, word));
}
