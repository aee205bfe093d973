// Tokens in the order of their probabilities, in steps of 30 temperatures / 2^24: grade 0 are the likeliest. What is further
// below them has a probability below 10^-13, and no grade. Weights are whole numbers, so that sums are the same in any order.

const GRADES = BINS * BINS;
const REACH = 30.0;
// Where there are tallies: of the grades' upper halves, and of the lower halves of those with the same upper one.
const COARSE = 0u;
const FINE = 3u * BINS;

var<workgroup> highest: atomic<u32>;

// The largest logit that may be chosen; `threads` look for it.
fn first_logit(lane: u32, threads: u32) -> f32 {
  if (lane == 0u) {
    atomicStore(&highest, 0u);
  }
  workgroupBarrier();
  var most = 0u;
  for (var i = lane; i < params.blocks; i += threads) {
    most = max(most, maxima[i]);
  }
  atomicMax(&highest, most);
  workgroupBarrier();
  return value(atomicLoad(&highest));
}

// The number that a key is of.
fn value(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, key >= 0x80000000u));
}

fn grade(logit: f32, first: f32) -> u32 {
  let far = (first - logit) / (REACH * draw[0].temperature);
  return select(u32(min(far, 1.0) * f32(GRADES)), 0u, logit == first);
}

// The grade of the most probable token of a block.
fn block_grade(block: u32, first: f32) -> u32 {
  let most = maxima[block];
  return select(GRADES, grade(value(most), first), most >= LOWEST);
}

fn token_grade(token: u32, first: f32) -> u32 {
  if (token >= params.vocabulary || !is_allowed(token) || key(logits[token]) < LOWEST) {
    return GRADES;
  }
  return grade(logits[token], first);
}

// The probability of a token of this grade in relation to the first, in 2^-31.
fn weight(grade: u32) -> u32 {
  return u32(exp(-REACH * f32(grade) / f32(GRADES)) * 2147483648.0);
}

// Counts a token in a bin.
fn tally(base: u32, bin: u32, weight: u32) {
  atomicAdd(&bins[base + bin], 1u);
  let before = atomicAdd(&bins[base + BINS + bin], weight);
  if (before + weight < before) {
    atomicAdd(&bins[base + 2u * BINS + bin], 1u);
  }
}

