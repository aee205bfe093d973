fn gated(token: u32, base: u32, group: u32, lane: u32, factor: f32) {
  let row = group * OUTPUTS + lane / LANES;
  let at = min(row, params.rows0 - 1u) * params.blocks;
  var gate = 0.0;
  var up = 0.0;
  for (var b = lane % LANES; b < params.blocks; b += LANES) {
    gate += times(unpack0(at + b), base, b);
    up += times(unpack1(at + b), base, b);
  }
  gate = fold(gate, lane, LANES) * factor;
  up = fold(up, lane, LANES) * factor;
  if (lane % LANES == 0u && row < params.rows0) {
    out0[token * params.stride0 + row] = f(gate) * up;
  }
}

