// A sequence's keys lie in pieces of memory, and a dispatch takes one of them: up to `now.until`, but for the last.
const LAST = 0xffffffffu;

// The highest score and the total that the pieces before have left of head `at` of all rows. All threads call it.
fn left(at: u32) -> vec2<f32> {
  var before = vec2<f32>(-1e30, 0.0);
  if (now.origin > 0u) {
    before = totals[at];
  }
  if (now.until != LAST) {
    storageBarrier();
  }
  return before;
}

// How much of the result is what they have left in `out`, and by what this piece's sums are to be multiplied. One thread
// of a head leaves both for the next piece.
fn mixed(at: u32, leaves: bool, before: vec2<f32>, most: f32, total: f32) -> vec2<f32> {
  let top = max(before.x, most);
  let factors = exp(vec2<f32>(before.x, most) - top);
  let all = before.y * factors.x + total * factors.y;
  if (leaves && now.until != LAST) {
    totals[at] = vec2<f32>(top, all);
  }
  return vec2<f32>(before.y * factors.x, factors.y) / all;
}

fn set_out(at: u32, value: f32, mix: vec2<f32>) {
  var result = value * mix.y;
  if (mix.x > 0.0) {
    result += out[at] * mix.x;
  }
  out[at] = result;
}
