const LANES = $LANESu;

fn vector(i: u32) -> f32 {
  return vectors[i / 4u][i % 4u];
}

fn times(w: Block, x: Block) -> f32 {
  return dot(w.a, x.a) + dot(w.b, x.b) + dot(w.c, x.c) + dot(w.d, x.d)
    + dot(w.e, x.e) + dot(w.f, x.f) + dot(w.g, x.g) + dot(w.h, x.h);
}

$fold
// Where the row of a token begins; of the last one for those after it.
fn base_of(token: u32) -> u32 {
  return (now.first + min(token, now.rows - 1u)) * params.x_stride;
}

// Block b of x, whose row begins at `base`.
fn input(base: u32, b: u32) -> Block {
  let at = base + b * 8u;
  return Block(x[at], x[at + 1u], x[at + 2u], x[at + 3u], x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]);
}
$normed
$functions
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token0 = group.y * $TOKENSu;
  var index = place(group);
$branches}
