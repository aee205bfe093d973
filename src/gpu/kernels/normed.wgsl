// Normalizes the head in `raw` with norm `which`.
fn normed(which: u32, lane: u32) {
  var squares = 0.0;
  for (var i = lane; i < DIM; i += 64u) {
    squares += raw[i] * raw[i];
  }
  let scale = 1.0 / sqrt(fold(squares, lane, 64u) / f32(DIM) + params.eps);
  for (var i = lane; i < DIM; i += 64u) {
    raw[i] = raw[i] * scale * vectors[which * DIM + i];
  }
  workgroupBarrier();
}
