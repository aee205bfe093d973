// Of the values, 256 threads find the k-th largest of the blocks' maxima: every token that can be among the k first is
// in one of the k blocks that reach it. What reaches it there is ranked by counting, and one thread does the rest.

const THREADS = 256u;

var<workgroup> bins: array<atomic<u32>, 16>;
var<workgroup> blocks: array<u32, MOST>;
var<workgroup> found: atomic<u32>;
var<workgroup> count: atomic<u32>;
var<workgroup> ranked: array<u32, MOST>;

// The k-th largest of `maxima`, four bits at a time from the highest.
fn bound(k: u32, lane: u32) -> u32 {
  var prefix = 0u;
  var left = k;
  for (var digit = 0u; digit < 8u; digit += 1u) {
    let shift = 28u - 4u * digit;
    if (lane < 16u) {
      atomicStore(&bins[lane], 0u);
    }
    workgroupBarrier();
    for (var i = lane; i < params.blocks; i += THREADS) {
      let value = maxima[i] >> shift;
      if (value >> 4u == prefix) {
        atomicAdd(&bins[value & 15u], 1u);
      }
    }
    workgroupBarrier();
    var bin = 15u;
    while (bin > 0u && left > atomicLoad(&bins[bin])) {
      left -= atomicLoad(&bins[bin]);
      bin -= 1u;
    }
    prefix = prefix * 16u + bin;
    workgroupBarrier();
  }
  return prefix;
}

// Whether token a comes before token b: the more probable one, the lower id of two equals.
fn precedes(a: u32, b: u32) -> bool {
  let x = key(logits[a]);
  let y = key(logits[b]);
  return x > y || (x == y && a < b);
}

fn weight(rank: u32) -> f32 {
  return exp((logits[ranked[rank]] - logits[ranked[0]]) / draw[0].temperature);
}

// A draw among the `size` first, cut to what top_p and min_p leave.
fn drawn(size: u32) -> u32 {
  var total = 0.0;
  for (var i = 0u; i < size; i += 1u) {
    total += weight(i);
  }
  var sum = 0.0;
  var kept = 0u;
  while (kept < size) {
    let next = weight(kept);
    if (kept > 0u && (sum >= draw[0].top_p * total || next < draw[0].min_p)) {
      break;
    }
    sum += next;
    kept += 1u;
  }
  var left = f32(random()) / 16777216.0 * sum;
  for (var i = 0u; i + 1u < kept; i += 1u) {
    left -= weight(i);
    if (left < 0.0) {
      return ranked[i];
    }
  }
  return ranked[kept - 1u];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) lane: u32) {
  let k = min(draw[0].k, params.vocabulary);
  if (lane == 0u) {
    atomicStore(&found, 0u);
    atomicStore(&count, 0u);
  }
  let least = max(bound(k, lane), LOWEST);
  if (lane < MOST) {
    ranked[lane] = draw[0].flags >> 2u;
  }
  for (var i = lane; i < params.blocks; i += THREADS) {
    if (maxima[i] >= least) {
      let at = atomicAdd(&found, 1u);
      // More than there is room for reach it only if they are equal.
      if (at < MOST) {
        blocks[at] = i;
      }
    }
  }
  workgroupBarrier();
  for (var i = lane; i < min(atomicLoad(&found), MOST) * SPAN; i += THREADS) {
    let token = token_of(blocks[i / SPAN], i % SPAN);
    if (token < params.vocabulary && is_allowed(token) && key(logits[token]) >= least) {
      candidates[atomicAdd(&count, 1u)] = token;
    }
  }
  storageBarrier();
  workgroupBarrier();
  let all = atomicLoad(&count);
  for (var i = lane; i < all; i += THREADS) {
    var rank = 0u;
    for (var j = 0u; j < all; j += 1u) {
      rank += u32(precedes(candidates[j], candidates[i]));
    }
    if (rank < k) {
      ranked[rank] = candidates[i];
    }
  }
  workgroupBarrier();
  if (lane > 0u) {
    return;
  }
  var token = ranked[0];
  if (draw[0].temperature > 0.0 && all > 0u) {
    token = drawn(min(k, all));
  }
  pick(token);
}
