// Vector j of a block: of 64 outputs, and of 32 rows of x; both in parts of the largest value, of an output's block and
// of each half of a row's.
var<workgroup> weights: array<$four, 512>;
var<workgroup> inputs: array<$four, 256>;
var<workgroup> weights_largest: array<f32, 64>;
var<workgroup> inputs_largest: array<f32, 64>;

fn encode(values: vec4<f32>) -> $four {
  return $encode;
}

fn dots(w: $four, x0: $four, x1: $four, x2: $four, x3: $four) -> $sums {
  return $sums($dot(w, x0), $dot(w, x1), $dot(w, x2), $dot(w, x3));
}

fn most(values: vec4<f32>) -> f32 {
  let pairs = max(values.xy, values.zw);
  return max(pairs.x, pairs.y);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = place(group) * 64u;
  let token = group.y * 32u;
  let own = min(row + lane, params.rows - 1u) * params.blocks;
  // This thread's four outputs and eight rows, and the half of a row's block that it reads.
  let r = lane % 16u * 4u;
  let t = lane / 16u * 8u;
  let at = (now.first + min(token + lane / 2u, now.rows - 1u)) * params.x_stride + lane % 2u * 4u;
  let place_of = lane % 2u * 128u + lane / 2u;
  var a0 = vec4<f32>(); var a1 = vec4<f32>();
  var b0 = vec4<f32>(); var b1 = vec4<f32>();
  var c0 = vec4<f32>(); var c1 = vec4<f32>();
  var d0 = vec4<f32>(); var d1 = vec4<f32>();
  for (var b = 0u; b < params.blocks; b += 1u) {
    let w = unpack0(own + b);
    let w_largest = most(max(
      max(max(abs(w.a), abs(w.b)), max(abs(w.c), abs(w.d))),
      max(max(abs(w.e), abs(w.f)), max(abs(w.g), abs(w.h))),
    ));
    // What is smaller is 0 in 16 bits as well, and its inverse would be none.
    let w_scale = 1.0 / max(w_largest, 1e-30);
    weights_largest[lane] = w_largest;
    weights[lane] = encode(w.a * w_scale);
    weights[64u + lane] = encode(w.b * w_scale);
    weights[128u + lane] = encode(w.c * w_scale);
    weights[192u + lane] = encode(w.d * w_scale);
    weights[256u + lane] = encode(w.e * w_scale);
    weights[320u + lane] = encode(w.f * w_scale);
    weights[384u + lane] = encode(w.g * w_scale);
    weights[448u + lane] = encode(w.h * w_scale);
    let x0 = x[at + b * 8u];
    let x1 = x[at + b * 8u + 1u];
    let x2 = x[at + b * 8u + 2u];
    let x3 = x[at + b * 8u + 3u];
    let x_largest = most(max(max(abs(x0), abs(x1)), max(abs(x2), abs(x3))));
    let x_scale = 1.0 / max(x_largest, 1e-30);
    inputs_largest[lane % 2u * 32u + lane / 2u] = x_largest;
    inputs[place_of] = encode(x0 * x_scale);
    inputs[place_of + 32u] = encode(x1 * x_scale);
    inputs[place_of + 64u] = encode(x2 * x_scale);
    inputs[place_of + 96u] = encode(x3 * x_scale);
    workgroupBarrier();
    for (var half = 0u; half < 2u; half += 1u) {
      var p0 = $sums(); var p1 = $sums();
      var q0 = $sums(); var q1 = $sums();
      var r0 = $sums(); var r1 = $sums();
      var s0 = $sums(); var s1 = $sums();
      for (var j = half * 4u; j < half * 4u + 4u; j += 1u) {
        let u = j * 64u + r;
        let v = j * 32u + t;
        let x0 = inputs[v]; let x1 = inputs[v + 1u]; let x2 = inputs[v + 2u]; let x3 = inputs[v + 3u];
        let x4 = inputs[v + 4u]; let x5 = inputs[v + 5u]; let x6 = inputs[v + 6u]; let x7 = inputs[v + 7u];
        let w0 = weights[u]; let w1 = weights[u + 1u]; let w2 = weights[u + 2u]; let w3 = weights[u + 3u];
        p0 += dots(w0, x0, x1, x2, x3); p1 += dots(w0, x4, x5, x6, x7);
        q0 += dots(w1, x0, x1, x2, x3); q1 += dots(w1, x4, x5, x6, x7);
        r0 += dots(w2, x0, x1, x2, x3); r1 += dots(w2, x4, x5, x6, x7);
        s0 += dots(w3, x0, x1, x2, x3); s1 += dots(w3, x4, x5, x6, x7);
      }
      let h = half * 32u + t;
      let l0 = vec4<f32>(inputs_largest[h], inputs_largest[h + 1u], inputs_largest[h + 2u], inputs_largest[h + 3u]);
      let l1 = vec4<f32>(inputs_largest[h + 4u], inputs_largest[h + 5u], inputs_largest[h + 6u], inputs_largest[h + 7u]);
      let k0 = weights_largest[r] / $range; let k1 = weights_largest[r + 1u] / $range;
      let k2 = weights_largest[r + 2u] / $range; let k3 = weights_largest[r + 3u] / $range;
      a0 += vec4<f32>(p0) * l0 * k0; a1 += vec4<f32>(p1) * l1 * k0;
      b0 += vec4<f32>(q0) * l0 * k1; b1 += vec4<f32>(q1) * l1 * k1;
      c0 += vec4<f32>(r0) * l0 * k2; c1 += vec4<f32>(r1) * l1 * k2;
      d0 += vec4<f32>(s0) * l0 * k3; d1 += vec4<f32>(s1) * l1 * k3;
    }
    workgroupBarrier();
  }
  put4(token + t, row + r, a0); put4(token + t + 4u, row + r, a1);
  put4(token + t, row + r + 1u, b0); put4(token + t + 4u, row + r + 1u, b1);
  put4(token + t, row + r + 2u, c0); put4(token + t + 4u, row + r + 2u, c1);
  put4(token + t, row + r + 3u, d0); put4(token + t + 4u, row + r + 3u, d1);
}
