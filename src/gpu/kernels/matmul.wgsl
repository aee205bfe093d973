// Vector j of a block: of 64 outputs, and of 32 rows of x.
var<workgroup> weights: array<vec4<f32>, 512>;
var<workgroup> inputs: array<vec4<f32>, 256>;

fn dots(w: vec4<f32>, x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(dot(w, x0), dot(w, x1), dot(w, x2), dot(w, x3));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = place(group) * 64u;
  let token = group.y * 32u;
  let own = min(row + lane, params.rows - 1u) * params.blocks;
  // This thread's four outputs and eight rows.
  let r = lane % 16u * 4u;
  let t = lane / 16u * 8u;
  var a0 = vec4<f32>(); var a1 = vec4<f32>();
  var b0 = vec4<f32>(); var b1 = vec4<f32>();
  var c0 = vec4<f32>(); var c1 = vec4<f32>();
  var d0 = vec4<f32>(); var d1 = vec4<f32>();
  for (var b = 0u; b < params.blocks; b += 1u) {
    let w = unpack0(own + b);
    weights[lane] = w.a;
    weights[64u + lane] = w.b;
    weights[128u + lane] = w.c;
    weights[192u + lane] = w.d;
    weights[256u + lane] = w.e;
    weights[320u + lane] = w.f;
    weights[384u + lane] = w.g;
    weights[448u + lane] = w.h;
    for (var k = lane; k < 256u; k += 64u) {
      let from_row = now.first + min(token + k / 8u, now.rows - 1u);
      inputs[k % 8u * 32u + k / 8u] = x[from_row * params.x_stride + b * 8u + k % 8u];
    }
    workgroupBarrier();
    for (var j = 0u; j < 8u; j += 1u) {
      let u = j * 64u + r;
      let v = j * 32u + t;
      let x0 = inputs[v]; let x1 = inputs[v + 1u]; let x2 = inputs[v + 2u]; let x3 = inputs[v + 3u];
      let x4 = inputs[v + 4u]; let x5 = inputs[v + 5u]; let x6 = inputs[v + 6u]; let x7 = inputs[v + 7u];
      let w0 = weights[u]; let w1 = weights[u + 1u]; let w2 = weights[u + 2u]; let w3 = weights[u + 3u];
      a0 += dots(w0, x0, x1, x2, x3); a1 += dots(w0, x4, x5, x6, x7);
      b0 += dots(w1, x0, x1, x2, x3); b1 += dots(w1, x4, x5, x6, x7);
      c0 += dots(w2, x0, x1, x2, x3); c1 += dots(w2, x4, x5, x6, x7);
      d0 += dots(w3, x0, x1, x2, x3); d1 += dots(w3, x4, x5, x6, x7);
    }
    workgroupBarrier();
  }
  put4(token + t, row + r, a0); put4(token + t + 4u, row + r, a1);
  put4(token + t, row + r + 1u, b0); put4(token + t + 4u, row + r + 1u, b1);
  put4(token + t, row + r + 2u, c0); put4(token + t + 4u, row + r + 2u, c1);
  put4(token + t, row + r + 3u, d0); put4(token + t + 4u, row + r + 3u, d1);
}
