var<workgroup> partial: array<f32, 64>;

// Σ of the values of `span` neighbouring threads, a power of two. All threads call it.
fn fold(value: f32, lane: u32, span: u32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var near = span / 2u; near > 0u; near = near / 2u) {
    if (lane % span < near) {
      partial[lane] += partial[lane + near];
    }
    workgroupBarrier();
  }
  let sum = partial[lane - lane % span];
  workgroupBarrier();
  return sum;
}
