// Readies the query. Nothing is known of any position yet.
fn prepare(head: u32, kv_head: u32, row: u32, position: u32, split: u32, lane: u32) {
  for (var i = lane; i < FOURS; i += THREADS) {
    query[i] = q_four(row * params.q_stride + head * DIM, i) * params.scale;
  }
  most = -1e30;
  total = 0.0;
  workgroupBarrier();
}
