// A head as it comes; a value more where its length is odd.
var<workgroup> raw: array<f32, 2u * WORDS>;

// Readies the query, stores the row's key and value, and begins the sums with them.
fn prepare(head: u32, kv_head: u32, row: u32, position: u32, lane: u32) {
  for (var i = lane; i < DIM; i += 64u) {
    raw[i] = q[row * params.q_stride + head * DIM + i];
  }
  workgroupBarrier();
  normed(0u, lane);
  for (var i = lane; i < WORDS; i += 64u) {
    query[i] = vec2<f32>(turned(2u * i, row), turned(2u * i + 1u, row)) * params.scale;
  }
  workgroupBarrier();
  for (var i = lane; i < DIM; i += 64u) {
    raw[i] = k[row * params.k_stride + kv_head * DIM + i];
  }
  workgroupBarrier();
  normed(1u, lane);
  let stores = head % params.share == 0u;
  let to = (kv_head * params.capacity + position % params.capacity) * WORDS;
  var score = 0.0;
  for (var i = lane; i < WORDS; i += 64u) {
    let key = pack2x16float(vec2<f32>(turned(2u * i, row), turned(2u * i + 1u, row)));
    let at = row * params.v_stride + kv_head * DIM + 2u * i;
    let two = 2u * i + 1u < DIM;
    let value = pack2x16float(vec2<f32>(v[at], select(0.0, v[at + u32(two)], two)));
    if (stores) {
      kv[to + i] = key;
      kv[params.heads * params.capacity * WORDS + to + i] = value;
    }
    score += dot(query[i], unpack2x16float(key));
    sums[i / 64u] = unpack2x16float(value);
  }
  most = capped(fold(score, lane, 64u));
  total = 1.0;
}
