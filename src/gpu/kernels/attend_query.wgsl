// Readies the query. Nothing is known of any position yet.
fn prepare(head: u32, kv_head: u32, row: u32, position: u32, lane: u32) {
  let at = row * params.q_stride + head * DIM;
  for (var i = lane; i < WORDS; i += 64u) {
    let two = 2u * i + 1u < DIM;
    query[i] = vec2<f32>(q[at + 2u * i], select(0.0, q[at + 2u * i + u32(two)], two)) * params.scale;
  }
  most = -1e30;
  total = 0.0;
  workgroupBarrier();
}
