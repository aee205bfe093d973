// Word w of unit u = four bytes of the file, from byte at + 4w of the unit on; odd word p = the odd u16s of units 2p
// and 2p + 1. Grid: a thread per word written. `raw` has the bytes of whole rows from an even row on; a row of floats
// need not fill its last unit, which zeros do.

const NONE = 0xffffffffu;

// The byte-th byte of a row, 0 beyond its end.
fn byte(row: u32, byte: u32) -> u32 {
  let at = row * params.row_bytes + byte;
  let value = (raw[at / 4u] >> (at % 4u * 8u)) & 0xffu;
  return select(0u, value, byte < params.row_bytes && row < params.rows);
}

fn pair(row: u32, at: u32) -> u32 {
  return byte(row, at) | (byte(row, at + 1u) << 8u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let index = place(group) * 64u + lane;
  let units = params.rows * params.units;
  if (index < units * params.words) {
    let unit = index / params.words;
    let row = unit / params.units;
    let at = unit % params.units * params.unit_bytes + params.at + index % params.words * 4u;
    w[params.first_row * params.units * params.words + index] = pair(row, at) | (pair(row, at + 2u) << 16u);
  }
  if (params.odd != NONE && index < (units + 1u) / 2u) {
    var word = 0u;
    for (var k = 0u; k < 2u; k += 1u) {
      let unit = index * 2u + k;
      let at = unit % params.units * params.unit_bytes + params.odd;
      word |= pair(unit / params.units, at) << (k * 16u);
    }
    w[params.odds + params.first_row * params.units / 2u + index] = word;
  }
}
