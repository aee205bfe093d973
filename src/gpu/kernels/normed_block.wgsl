
// A block of x times the norm's weights; the factor that is missing comes with the sum.
fn normed(x: Block, b: u32) -> Block {
  let at = b * 8u;
  return Block(
    x.a * vectors[at], x.b * vectors[at + 1u], x.c * vectors[at + 2u], x.d * vectors[at + 3u],
    x.e * vectors[at + 4u], x.f * vectors[at + 5u], x.g * vectors[at + 6u], x.h * vectors[at + 7u],
  );
}

fn factor(squares: f32) -> f32 {
  return 1.0 / sqrt(squares / params.width + params.eps);
}
