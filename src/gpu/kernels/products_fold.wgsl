var<workgroup> partial: array<f32, $PARTIALSu>;

// Σ of the LANES values of a group of threads, of which the first is thread `first`, in the `which`-th 64 partial sums.
fn folded(which: u32, first: u32) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < LANES; i += 1u) {
    sum += partial[which * 64u + first + i];
  }
  return sum;
}
