// Minimizes a smooth convex function by L-BFGS (Nocedal and Wright, algorithms 7.4 and 7.5).

/** Writes the gradient at `at` and gives the value. */
export type Objective = (at: Float64Array, gradient: Float64Array) => Promise<number>;

/** Pairs of steps and changes of the gradient that stand for the curvature. */
const MEMORY = 10;
/** A step has to gain this share of what the slope promises. */
const ARMIJO = 1e-4;

/** Moves `at` to the minimum: until no component of the gradient is above `tolerance`, or rounding ends progress. */
export async function minimize(objective: Objective, at: Float64Array, { tolerance, steps }: { tolerance: number; steps: number }): Promise<void> {
  const size = at.length;
  let gradient = new Float64Array(size);
  let value = await objective(at, gradient);
  let next = new Float64Array(size);
  let nextGradient = new Float64Array(size);
  const pairs: { step: Float64Array; change: Float64Array; scale: number }[] = [];
  for (let count = 0; count < steps && largest(gradient) > tolerance; count++) {
    const direction = descent(gradient, pairs);
    const slope = dot(direction, gradient);
    // Along the bare gradient nothing is known of the curvature: the first step is one of length 1 at most.
    let length = pairs.length > 0 ? 1 : Math.min(1, 1 / Math.sqrt(-slope));
    let gain = -Infinity;
    for (let tries = 0; tries < 40; tries++, length /= 2) {
      for (let i = 0; i < size; i++) next[i] = at[i]! + length * direction[i]!;
      gain = value - (await objective(next, nextGradient));
      if (gain >= -ARMIJO * length * slope) break;
    }
    if (!(gain > 0)) return;
    const step = new Float64Array(size);
    const change = new Float64Array(size);
    for (let i = 0; i < size; i++) {
      step[i] = next[i]! - at[i]!;
      change[i] = nextGradient[i]! - gradient[i]!;
    }
    const curvature = dot(step, change);
    if (curvature > 0) {
      pairs.push({ step, change, scale: 1 / curvature });
      if (pairs.length > MEMORY) pairs.shift();
    }
    at.set(next);
    [gradient, nextGradient] = [nextGradient, gradient];
    value -= gain;
  }
}

/** The quasi-Newton direction, by the two loops over the pairs. */
function descent(gradient: Float64Array, pairs: { step: Float64Array; change: Float64Array; scale: number }[]): Float64Array {
  const direction = gradient.map((value) => -value);
  const shares = pairs.map(() => 0);
  for (let i = pairs.length - 1; i >= 0; i--) {
    const { step, change, scale } = pairs[i]!;
    shares[i] = scale * dot(step, direction);
    add(direction, -shares[i]!, change);
  }
  const newest = pairs.at(-1);
  if (newest) {
    const ratio = 1 / (newest.scale * dot(newest.change, newest.change));
    for (let i = 0; i < direction.length; i++) direction[i]! *= ratio;
  }
  for (const [i, { step, change, scale }] of pairs.entries()) add(direction, shares[i]! - scale * dot(change, direction), step);
  return direction;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function add(to: Float64Array, factor: number, what: Float64Array): void {
  for (let i = 0; i < to.length; i++) to[i]! += factor * what[i]!;
}

function largest(vector: Float64Array): number {
  let most = 0;
  for (const value of vector) most = Math.max(most, Math.abs(value));
  return most;
}
