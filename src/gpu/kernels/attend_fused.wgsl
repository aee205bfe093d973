// A head as it comes.
var<workgroup> raw: array<f32, DIM>;

// Readies the query, stores the row's key and value, and begins the sums of the first split with them.
fn prepare(head: u32, kv_head: u32, row: u32, position: u32, split: u32, lane: u32) {
  for (var i = lane; i < DIM; i += THREADS) {
    raw[i] = q[row * params.q_stride + head * DIM + i];
  }
  workgroupBarrier();
  normed(0u, lane);
  for (var i = lane; i < WORDS; i += THREADS) {
    query[i] = turned_word(row, i) * params.scale;
  }
  workgroupBarrier();
  for (var i = lane; i < DIM; i += THREADS) {
    raw[i] = k[row * params.k_stride + kv_head * DIM + i];
  }
  workgroupBarrier();
  normed(1u, lane);
  let stores = head % params.share == 0u && split == 0u;
  let to = (kv_head * params.capacity + position % params.capacity) * ROW;
  let begin = row * params.v_stride + kv_head * DIM;
  var score = 0.0;
  for (var i = lane; i < WORDS; i += THREADS) {
    let key_largest = turned_largest(row, i);
    let key = pack(turned_word(row, i), key_largest);
    let value_largest = v_largest(begin, i);
    let value = pack(v_word(begin, i), value_largest);
    if (stores) {
      put(to, i, key, key_largest);
      put(params.heads * params.capacity * ROW + to, i, value, value_largest);
    }
    score += dot(query[i], unpack(key, key_largest));
    sums[i / THREADS] = select(Values(), unpack(value, value_largest), split == 0u);
  }
  most = select(-1e30, capped(fold(score, lane)), split == 0u);
  total = select(0.0, 1.0, split == 0u);
}
