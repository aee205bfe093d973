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
  let key_largest = k_largest(i, word);
  put(at, word, pack(k_word(i, word), key_largest), key_largest);
  let value_largest = v_largest(j, word);
  put(params.heads * params.capacity * ROW + at, word, pack(v_word(j, word), value_largest), value_largest);
}
