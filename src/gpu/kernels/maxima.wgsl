// The logit of a token, with its bias and penalties. `by.y` is 0 for a token that has not occurred, and one more than
// how often it has occurred in the answer for one that has.
fn adjusted(logit: f32, by: vec2<f32>) -> f32 {
  var value = logit + by.x;
  if (by.y > 0.0) {
    value = select(value * draw[0].repeat_penalty, value / draw[0].repeat_penalty, value > 0.0);
  }
  if (by.y > 1.0) {
    value -= draw[0].frequency_penalty * (by.y - 1.0) + draw[0].presence_penalty;
  }
  return value;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let block = place(group) * 64u + lane;
  var most = 0u;
  for (var i = 0u; i < SPAN; i += 1u) {
    let token = token_of(block, i);
    if (token < params.vocabulary) {
      if ((draw[0].flags & 1u) != 0u) {
        logits[token] = adjusted(logits[token], adjustments[token]);
      }
      most = max(most, select(0u, key(logits[token]), is_allowed(token)));
    }
  }
  maxima[block] = most;
}
