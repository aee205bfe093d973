fn put(token: u32, row: u32, sum: f32) {
  if (token < now.rows && row < params.rows) {
    $assign
  }
}

fn put4(token: u32, row: u32, sums: vec4<f32>) {
  put(token, row, sums.x);
  put(token + 1u, row, sums.y);
  put(token + 2u, row, sums.z);
  put(token + 3u, row, sums.w);
}

