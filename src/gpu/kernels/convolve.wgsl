const TAPS = $TAPSu;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = group.x * 64u + lane;
  if (column >= params.width) {
    return;
  }
  let w = unpack0(column);
  var taps = array<vec4<f32>, 8>(w.a, w.b, w.c, w.d, w.e, w.f, w.g, w.h);
  // The last inputs, the row's own behind them.
  var inputs: array<f32, TAPS>;
  let len = (TAPS - 1u) * params.width;
  for (var j = 0u; j + 1u < TAPS; j += 1u) {
    inputs[j] = select(state[now.turn * len + j * params.width + column], 0.0, now.start == 0u);
  }
  for (var row = 0u; row < now.rows; row += 1u) {
    let at = (now.first + row) * params.stride + column;
    inputs[TAPS - 1u] = x[at];
    var sum = 0.0;
    for (var j = 0u; j < TAPS; j += 1u) {
      sum += taps[j / 4u][j % 4u] * inputs[j];
    }
    x[at] = sum;
    for (var j = 0u; j + 1u < TAPS; j += 1u) {
      inputs[j] = inputs[j + 1u];
    }
  }
  for (var j = 0u; j + 1u < TAPS; j += 1u) {
    state[(1u - now.turn) * len + j * params.width + column] = inputs[j];
  }
}
