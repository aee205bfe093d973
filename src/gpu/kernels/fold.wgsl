var<workgroup> partial: array<f32, 64>;

// Σ of the values of `span` neighbouring threads. All threads call it. Each adds up all of them: a tree has fewer
// additions and a barrier for each of its levels, which costs more.
fn fold(value: f32, lane: u32, span: u32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  let first = lane - lane % span;
  var sum = 0.0;
  for (var i = 0u; i < span; i += 1u) {
    sum += partial[first + i];
  }
  workgroupBarrier();
  return sum;
}
