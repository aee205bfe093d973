const DIM = $DIMu;
const BLOCKS = (DIM + 63u) / 64u;

var<workgroup> query: array<f32, DIM>;
var<workgroup> key: array<f32, DIM>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = group.x / BLOCKS;
  let column = group.x % BLOCKS * 64u + lane;
  let works = column < DIM;
  let before = now.turn * params.len + head * DIM * DIM + column;
  let s = (1u - now.turn) * params.len + head * DIM * DIM + column;
  if (works) {
    for (var i = 0u; i < DIM; i += 1u) {
      state[s + i * DIM] = select(state[before + i * DIM], 0.0, now.start == 0u);
    }
  }
  for (var r = 0u; r < now.rows; r += 1u) {
    let row = now.first + r;
    let keys = row * params.key_stride + head % params.key_heads * DIM;
    for (var i = lane; i < DIM; i += 64u) {
      query[i] = q[keys + i];
      key[i] = k[keys + i];
    }
    workgroupBarrier();
    if (works) {
      let x = decay[row * params.number_stride + head];
      let shrink = exp(a[head] * (max(x, 0.0) + log(1.0 + exp(-abs(x)))));
      var known = 0.0;
      for (var i = 0u; i < DIM; i += 1u) {
        known += key[i] * state[s + i * DIM];
      }
      let at = row * params.stride + head * DIM + column;
      let learns = 1.0 / (1.0 + exp(min(-rate[row * params.number_stride + head], 80.0)));
      let change = learns * (v[at] - shrink * known);
      var sum = 0.0;
      for (var i = 0u; i < DIM; i += 1u) {
        let value = shrink * state[s + i * DIM] + key[i] * change;
        state[s + i * DIM] = value;
        sum += query[i] * value;
      }
      out[at] = sum;
    }
    workgroupBarrier();
  }
}
