// Value e of the head in `raw`, rotated.
fn turned(e: u32, row: u32) -> f32 {
  if (e >= params.pairs * 2u) {
    return raw[e];
  }
  let pair = $pair;
  let a = raw[$first];
  let b = raw[$second];
  let turn = angles[row * params.pairs + pair];
  return select(a * turn.y + b * turn.x, a * turn.x - b * turn.y, $is);
}
