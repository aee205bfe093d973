// out = Σ exp(most − top)·sum / Σ exp(most − top)·total over the splits of a head, of which each has left its highest
// score, its total and its sums. Grid: a workgroup per head and row.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = now.first + group.y;
  let head = row * params.heads + group.x;
  let from_split = head * SPLITS;
  let before = left(head);
  var top = -1e30;
  for (var s = 0u; s < SPLITS; s += 1u) {
    top = max(top, splits[(from_split + s) * STRIDE]);
  }
  var total = 0.0;
  for (var s = 0u; s < SPLITS; s += 1u) {
    let at = (from_split + s) * STRIDE;
    total += exp(splits[at] - top) * splits[at + 1u];
  }
  let mix = mixed(head, lane == 0u, before, top, total);
  for (var c = lane; c < DIM; c += 64u) {
    var sum = 0.0;
    for (var s = 0u; s < SPLITS; s += 1u) {
      let at = (from_split + s) * STRIDE;
      sum += exp(splits[at] - top) * splits[at + 2u + c];
    }
    set_out(row * params.out_stride + group.x * DIM + c, sum, mix);
  }
}
