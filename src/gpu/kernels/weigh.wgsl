// Tallies of all tokens by the upper half of their grades: a thread per block of logits.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first = first_logit(lane, 64u);
  let block = place(group) * 64u + lane;
  if (block_grade(block, first) >= GRADES) {
    return;
  }
  for (var i = 0u; i < SPAN; i += 1u) {
    let grade = token_grade(token_of(block, i), first);
    if (grade < GRADES) {
      tally(COARSE, grade / BINS, weight(grade));
    }
  }
}
