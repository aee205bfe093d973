// Normalizes the head in `raw` with norm `which`.
fn normed(which: u32, lane: u32) {
  var squares = 0.0;
  for (var i = lane; i < DIM; i += THREADS) {
    squares += raw[i] * raw[i];
  }
  let scale = 1.0 / sqrt(fold(squares, lane) / f32(DIM) + params.eps);
  for (var i = lane; i < DIM; i += THREADS) {
    raw[i] = raw[i] * scale * vectors[which * DIM + i];
  }
  workgroupBarrier();
}
