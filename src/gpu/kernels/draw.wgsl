// With u a random number, S what the kept tokens weigh, and tokens from the most probable on: the first with which the sum of
// weights is above u S. Kept are the k first, of these those that together weigh top_p of them, of these those above min_p.
// Each of the three sums is sought from bin to bin: no token is put in order, of those of one grade the lower id comes first.
// One workgroup of 256 threads: what it looks for lies in few blocks, since in the coarse bins all tokens are counted already.

const THREADS = 256u;
const RUN = BINS / THREADS;
const NO_LIMIT = vec3<u32>(0xffffffffu);

// A count, and the low and high words of a weight.
var<workgroup> sums: array<vec3<u32>, THREADS>;
// Where a limit is passed, and the sum before that.
var<workgroup> found: u32;
var<workgroup> before: vec3<u32>;
// The lowest token of grade 0.
var<workgroup> likeliest: atomic<u32>;

fn plus(a: vec3<u32>, b: vec3<u32>) -> vec3<u32> {
  let low = a.y + b.y;
  return vec3(a.x + b.x, low, a.z + b.z + u32(low < b.y));
}

fn exceeds(sum: vec3<u32>, limit: vec3<u32>) -> bool {
  return sum.x > limit.x || sum.z > limit.z || (sum.z == limit.z && sum.y > limit.y);
}

fn bin(base: u32, i: u32) -> vec3<u32> {
  let at = base + i;
  return vec3(atomicLoad(&bins[at]), atomicLoad(&bins[at + BINS]), atomicLoad(&bins[at + 2u * BINS]));
}

fn clear(base: u32, lane: u32) {
  for (var i = lane; i < 3u * BINS; i += THREADS) {
    atomicStore(&bins[base + i], 0u);
  }
  storageBarrier();
  workgroupBarrier();
}

// Finds the first bin with which the sum passes a limit, or bin `end`.
fn walk(base: u32, start: vec3<u32>, limit: vec3<u32>, end: u32, lane: u32) {
  var sum = vec3(0u);
  for (var i = 0u; i < RUN; i += 1u) {
    sum = plus(sum, bin(base, lane * RUN + i));
  }
  sums[lane] = sum;
  workgroupBarrier();
  if (lane == 0u) {
    var passed = start;
    var i = 0u;
    while (i + RUN <= end && !exceeds(plus(passed, sums[i / RUN]), limit)) {
      passed = plus(passed, sums[i / RUN]);
      i += RUN;
    }
    while (i < end && !exceeds(plus(passed, bin(base, i)), limit)) {
      passed = plus(passed, bin(base, i));
      i += 1u;
    }
    found = i;
    before = passed;
  }
  workgroupBarrier();
}

// Finds the grade with which the sum passes a limit, or grade `end`.
fn seek(limit: vec3<u32>, end: u32, first: f32, lane: u32) -> u32 {
  walk(COARSE, vec3(0u), limit, end / BINS, lane);
  let coarse = found;
  let start = before;
  clear(FINE, lane);
  for (var block = lane; block < params.blocks; block += THREADS) {
    if (block_grade(block, first) / BINS <= coarse) {
      for (var i = 0u; i < SPAN; i += 1u) {
        let grade = token_grade(token_of(block, i), first);
        if (grade < GRADES && grade / BINS == coarse) {
          tally(FINE, grade % BINS, weight(grade));
        }
      }
    }
  }
  storageBarrier();
  workgroupBarrier();
  walk(FINE, start, limit, select(BINS, end % BINS, coarse == end / BINS), lane);
  return coarse * BINS + found;
}

// The sum before a grade, with as many tokens of it as it takes to pass the limit.
fn fill(grade: u32, end: u32, limit: vec3<u32>) -> vec3<u32> {
  let token = vec3(1u, weight(grade), 0u);
  var sum = before;
  while (grade < end && token.y > 0u && !exceeds(sum, limit)) {
    sum = plus(sum, token);
  }
  return sum;
}

// The product of two words, the low one first.
fn product(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2((other << 16u) | (low & 0xffffu), (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u));
}

// What is less than `part` / 2^24 of a sum of at most 2^18 weights, which it has to pass to be as much; `more` has to be more.
fn share(sum: vec3<u32>, part: u32, more: bool) -> vec3<u32> {
  let high = product(sum.z, part);
  let low = product(sum.y, part);
  let words = plus(
    vec3(0u, high.x << 8u, (high.y << 8u) | (high.x >> 24u)),
    vec3(0u, (low.y << 8u) | (low.x >> 24u), low.y >> 24u),
  );
  let exact = !more && (low.x & 0xffffffu) == 0u && (words.y | words.z) > 0u;
  return vec3(NO_LIMIT.x, words.y - u32(exact), words.z - u32(exact && words.y == 0u));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) lane: u32) {
  let first = first_logit(lane, THREADS);
  if (lane == 0u) {
    atomicStore(&likeliest, NO_LIMIT.x);
  }
  // Without a limit, k is 0.
  var limit = vec3(draw[0].k - 1u, NO_LIMIT.yz);
  var at = seek(limit, GRADES, first, lane);
  let all = fill(at, GRADES, limit);
  limit = vec3(limit.x, share(all, u32(draw[0].top_p * 16777216.0), false).yz);
  let least = clamp(-log(draw[0].min_p) / REACH, 0.0, 1.0);
  let end = select(GRADES, min(u32(least * f32(GRADES)) + 1u, GRADES), draw[0].min_p > 0.0);
  at = seek(limit, end, first, lane);
  let kept = fill(at, end, limit);
  limit = share(kept, random(), true);
  at = seek(limit, GRADES, first, lane);
  // How many of the grade come before it.
  let nth = fill(at, GRADES, limit).x - before.x - 1u;
  clear(COARSE, lane);
  clear(FINE, lane);
  let run = (params.vocabulary + BINS - 1u) / BINS;
  for (var block = lane; block < params.blocks; block += THREADS) {
    if (block_grade(block, first) <= at) {
      for (var i = 0u; i < SPAN; i += 1u) {
        let token = token_of(block, i);
        let grade = token_grade(token, first);
        if (grade == at) {
          tally(FINE, token / run, 0u);
        }
        if (grade == 0u) {
          atomicMin(&likeliest, token);
        }
      }
    }
  }
  storageBarrier();
  workgroupBarrier();
  walk(FINE, vec3(0u), vec3(nth, NO_LIMIT.yz), BINS, lane);
  if (lane > 0u) {
    return;
  }
  // Where no logit is more than -∞, and where two kernels do not weigh quite alike.
  var token = select(draw[0].flags >> 2u, atomicLoad(&likeliest), kept.x > 0u);
  var passed = before.x;
  for (var i = 0u; i < run; i += 1u) {
    let next = found * run + i;
    if (kept.x > 0u && token_grade(next, first) == at) {
      if (passed == nth) {
        token = next;
      }
      passed += 1u;
    }
  }
  pick(token);
}
