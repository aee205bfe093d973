fn product$(token: u32, base: u32, group: u32, lane: u32, factor: f32) {
  let row = group * OUTPUTS + lane / LANES;
  let at = min(row, params.rows$ - 1u) * params.blocks;
  var sum = 0.0;
  for (var b = lane % LANES; b < params.blocks; b += LANES) {
    sum += times(unpack$(at + b), base, b);
  }
  let total = fold(sum, lane, LANES) * factor;
  if (lane % LANES == 0u && row < params.rows$) {
    @assign@
  }
}

