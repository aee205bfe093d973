let mix = mixed(index, lane == 0u, before, most, total);
  let to = row * params.out_stride + head * DIM;
