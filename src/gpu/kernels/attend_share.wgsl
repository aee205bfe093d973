let mix = vec2<f32>(0.0, 1.0);
  let share_at = (index * SPLITS + split) * (DIM + 2u);
  if (lane == 0u) {
    out[share_at] = most;
    out[share_at + 1u] = total;
  }
  let to = share_at + 2u;
