// A head as it comes.
var<workgroup> raw: array<f32, DIM>;
// The largest of each four of the row's key, and of its value.
var<workgroup> magnitudes: array<vec2<f32>, FOURS>;

// Readies the query, stores the row's key and value, and has the sums of the first split begin with them.
fn prepare(head: u32, kv_head: u32, row: u32, position: u32, split: u32, lane: u32) {
  for (var i = lane; i < DIM; i += THREADS) {
    raw[i] = q[row * params.q_stride + head * DIM + i];
  }
  workgroupBarrier();
  normed(0u, lane);
  for (var i = lane; i < FOURS; i += THREADS) {
    query[i] = turned_four(row, i) * params.scale;
  }
  workgroupBarrier();
  for (var i = lane; i < DIM; i += THREADS) {
    raw[i] = k[row * params.k_stride + kv_head * DIM + i];
  }
  workgroupBarrier();
  normed(1u, lane);
  // The row's own position is the last one of the last piece.
  let is_first = split == 0u && now.until > position;
  let stores = is_first && head % params.share == 0u;
  let to = keys_of(kv_head) + place_of(position);
  let begin = row * params.v_stride + kv_head * DIM;
  for (var i = lane; i < FOURS; i += THREADS) {
    magnitudes[i] = vec2<f32>(magnitude(turned_four(row, i)), magnitude(v_four(begin, i)));
  }
  workgroupBarrier();
  var score = 0.0;
  for (var i = lane; i < FOURS; i += THREADS) {
    var largest = vec2<f32>();
    let first = i - i % BLOCK;
    for (var n = first; n < min(first + BLOCK, FOURS); n += 1u) {
      largest = max(largest, magnitudes[n]);
    }
    let key = packed(turned_four(row, i), largest.x);
    let value = packed(v_four(begin, i), largest.y);
    if (stores) {
      put(to, i, key, largest.x);
      put(values_after() + to, i, value, largest.y);
    }
    score += dot(query[i], unpack(key) * largest.x);
    sums[i / THREADS] = select(vec4<f32>(), unpack(value) * largest.y, is_first);
  }
  most = select(-1e30, capped(fold(score, lane)), is_first);
  total = select(0.0, 1.0, is_first);
}
