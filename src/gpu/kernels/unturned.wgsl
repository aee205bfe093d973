fn turned(e: u32, row: u32) -> f32 {
  return raw[e];
}
