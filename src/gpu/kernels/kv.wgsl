const DIM = $DIMu;
// Fours of values of a head, words of each, fours that have a scale in common, and all words of a key or value.
const FOURS = $FOURSu;
const WORDS = $WORDSu;
const BLOCK = $BLOCKu;
const ROW = $ROWu;

// Positions that there is room for.
fn capacity() -> u32 {
  return arrayLength(&kv) / (2u * params.heads * ROW);
}

// Where a head's keys begin, and how far behind each its value is.
fn keys_of(head: u32) -> u32 {
  return head * capacity() * ROW;
}

fn values_after() -> u32 {
  return params.heads * capacity() * ROW;
}

// Where among them that of position p begins.
fn place_of(p: u32) -> u32 {
  return $slot * ROW;
}

// Four values between -1 and 1 as words: where one holds all, that is both.
fn pack(values: vec4<f32>) -> vec2<u32> {
  return $pack;
}

fn unpack(words: vec2<u32>) -> vec4<f32> {
  return $unpack;
}

// Four i of a key or value that begins at `at`, in units of its block's largest.
fn units_at(at: u32, i: u32) -> vec4<f32> {
  let first = at + i * WORDS;
  return unpack(vec2<u32>(kv[first], kv[first + WORDS - 1u]));
}

fn largest_at(at: u32, block: u32) -> f32 {
  return bitcast<f32>(kv[at + FOURS * WORDS + block]);
}

fn four_at(at: u32, i: u32) -> vec4<f32> {
  return units_at(at, i) * largest_at(at, i / BLOCK);
}
