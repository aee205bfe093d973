//! The same operations with arrays: what native tests run. Compilers vectorize most of it.

/// Sixteen bytes, seen as lanes of whatever type an operation names.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct V(pub(super) [u8; 16]);

type F = [f32; 4];
type I = [i32; 4];
type H = [u16; 8];

macro_rules! lanes {
    ($to:ident, $from:ident, $t:ty) => {
        #[inline(always)]
        fn $to(v: V) -> $t {
            bytemuck::cast(v.0)
        }
        #[inline(always)]
        fn $from(x: $t) -> V {
            V(bytemuck::cast(x))
        }
    };
}
lanes!(f, from_f, F);
lanes!(i, from_i, I);
lanes!(h, from_h, H);

#[inline(always)]
fn zip_f(a: V, b: V, op: impl Fn(f32, f32) -> f32) -> V {
    let (a, b) = (f(a), f(b));
    from_f(std::array::from_fn(|k| op(a[k], b[k])))
}

#[inline(always)]
fn map_f(a: V, op: impl Fn(f32) -> f32) -> V {
    from_f(f(a).map(op))
}

#[inline(always)]
pub fn load(bytes: &[u8], at: usize) -> V {
    V(bytes[at..at + 16].try_into().unwrap())
}

/// Reads 16 bytes.
///
/// # Safety
/// They are there.
#[inline(always)]
pub unsafe fn load_at(at: *const u8) -> V {
    // SAFETY: the caller's promise; no alignment is needed.
    V(unsafe { at.cast::<[u8; 16]>().read_unaligned() })
}

#[inline(always)]
pub fn load_f32(values: &[f32], at: usize) -> V {
    let lanes: F = values[at..at + 4].try_into().unwrap();
    from_f(lanes)
}

#[inline(always)]
pub fn store_f32(values: &mut [f32], at: usize, v: V) {
    values[at..at + 4].copy_from_slice(&f(v));
}

#[inline(always)]
pub fn load_u32(words: &[u32], at: usize) -> V {
    let lanes: [u32; 4] = words[at..at + 4].try_into().unwrap();
    V(bytemuck::cast(lanes))
}

#[inline(always)]
pub fn store(bytes: &mut [u8; 16], v: V) {
    *bytes = v.0;
}

/// Four integers.
#[inline(always)]
pub fn load_i32(values: &[i32; 4]) -> V {
    from_i(*values)
}

#[inline(always)]
pub fn splat_f32(x: f32) -> V {
    from_f([x; 4])
}

#[inline(always)]
pub fn splat_i32(x: i32) -> V {
    from_i([x; 4])
}

#[inline(always)]
pub fn splat_u8(x: u8) -> V {
    V([x; 16])
}

/// The bytes of `table` that the bytes of `indices`, all below 16, name.
#[inline(always)]
pub fn look_up(table: V, indices: V) -> V {
    V(indices.0.map(|index| table.0[usize::from(index)]))
}

#[inline(always)]
pub fn to_f32s(v: V) -> [f32; 4] {
    f(v)
}

#[inline(always)]
pub fn to_i32s(v: V) -> [i32; 4] {
    i(v)
}

#[inline(always)]
pub fn select(mask: V, a: V, b: V) -> V {
    V(std::array::from_fn(|k| (a.0[k] & mask.0[k]) | (b.0[k] & !mask.0[k])))
}

#[inline(always)]
pub fn less_i32(a: V, b: V) -> V {
    let (a, b) = (i(a), i(b));
    from_i(std::array::from_fn(|k| -i32::from(a[k] < b[k])))
}

#[inline(always)]
pub fn and(a: V, b: V) -> V {
    V(std::array::from_fn(|k| a.0[k] & b.0[k]))
}

#[inline(always)]
pub fn xor(a: V, b: V) -> V {
    V(std::array::from_fn(|i| a.0[i] ^ b.0[i]))
}

#[inline(always)]
pub fn or(a: V, b: V) -> V {
    V(std::array::from_fn(|k| a.0[k] | b.0[k]))
}

#[inline(always)]
pub fn add_f32(a: V, b: V) -> V {
    zip_f(a, b, |a, b| a + b)
}

#[inline(always)]
pub fn sub_f32(a: V, b: V) -> V {
    zip_f(a, b, |a, b| a - b)
}

#[inline(always)]
pub fn mul_f32(a: V, b: V) -> V {
    zip_f(a, b, |a, b| a * b)
}

#[inline(always)]
pub fn div_f32(a: V, b: V) -> V {
    zip_f(a, b, |a, b| a / b)
}

#[inline(always)]
pub fn max_f32(a: V, b: V) -> V {
    zip_f(a, b, |a, b| if b > a { b } else { a })
}

#[inline(always)]
pub fn min_f32(a: V, b: V) -> V {
    zip_f(a, b, |a, b| if b < a { b } else { a })
}

#[inline(always)]
pub fn abs_f32(a: V) -> V {
    map_f(a, f32::abs)
}

#[inline(always)]
pub fn nearest_f32(a: V) -> V {
    map_f(a, f32::round_ties_even)
}

#[inline(always)]
pub fn add_i32(a: V, b: V) -> V {
    let (a, b) = (i(a), i(b));
    from_i(std::array::from_fn(|k| a[k].wrapping_add(b[k])))
}

#[inline(always)]
pub fn min_i32(a: V, b: V) -> V {
    let (a, b) = (i(a), i(b));
    from_i(std::array::from_fn(|k| a[k].min(b[k])))
}

#[inline(always)]
pub fn sub_i32(a: V, b: V) -> V {
    let (a, b) = (i(a), i(b));
    from_i(std::array::from_fn(|k| a[k].wrapping_sub(b[k])))
}

#[inline(always)]
pub fn sum_i32(a: V) -> i32 {
    i(a).iter().sum()
}

#[inline(always)]
pub fn largest_f32(a: V) -> f32 {
    f(a).into_iter().fold(f32::NEG_INFINITY, f32::max)
}

#[inline(always)]
pub fn shl_i32<const N: u32>(a: V) -> V {
    from_i(i(a).map(|x| x << N))
}

#[inline(always)]
pub fn i32_to_f32(a: V) -> V {
    from_f(i(a).map(|x| x as f32))
}

#[inline(always)]
pub fn f32_to_i32(a: V) -> V {
    from_i(f(a).map(|x| x as i32))
}

#[inline(always)]
pub fn shl_u16<const N: u32>(a: V) -> V {
    from_h(h(a).map(|x| x << N))
}

#[inline(always)]
pub fn shr_u16<const N: u32>(a: V) -> V {
    from_h(h(a).map(|x| x >> N))
}

#[inline(always)]
pub fn extend_low_i16(a: V) -> V {
    let h = h(a);
    from_i(std::array::from_fn(|k| i32::from(h[k] as i16)))
}

#[inline(always)]
pub fn extend_high_i16(a: V) -> V {
    let h = h(a);
    from_i(std::array::from_fn(|k| i32::from(h[k + 4] as i16)))
}

#[inline(always)]
pub fn low_u8_to_f32(a: V) -> (V, V) {
    (
        from_f(std::array::from_fn(|k| f32::from(a.0[k]))),
        from_f(std::array::from_fn(|k| f32::from(a.0[k + 4]))),
    )
}

#[inline(always)]
pub fn low_i8_to_f32(a: V) -> (V, V) {
    (
        from_f(std::array::from_fn(|k| f32::from(a.0[k] as i8))),
        from_f(std::array::from_fn(|k| f32::from(a.0[k + 4] as i8))),
    )
}

#[inline(always)]
pub fn even(a: V, b: V) -> V {
    let (a, b) = (i(a), i(b));
    from_i([a[0], a[2], b[0], b[2]])
}

#[inline(always)]
pub fn odd(a: V, b: V) -> V {
    let (a, b) = (i(a), i(b));
    from_i([a[1], a[3], b[1], b[3]])
}

#[inline(always)]
pub fn even_twice(a: V) -> V {
    let a = i(a);
    from_i([a[0], a[0], a[2], a[2]])
}

#[inline(always)]
pub fn odd_twice(a: V) -> V {
    let a = i(a);
    from_i([a[1], a[1], a[3], a[3]])
}

#[inline(always)]
pub fn swap_pairs(a: V) -> V {
    let a = i(a);
    from_i([a[1], a[0], a[3], a[2]])
}

#[inline(always)]
pub fn negate_even(a: V) -> V {
    let a = f(a);
    from_f([-a[0], a[1], -a[2], a[3]])
}

#[inline(always)]
pub fn high_half(a: V) -> V {
    V(std::array::from_fn(|k| a.0[8 + k % 8]))
}

/// Lane r of the result is lane (r + K) mod 4.
#[inline(always)]
pub fn rotate<const K: usize>(a: V) -> V {
    let a = i(a);
    from_i(std::array::from_fn(|r| a[(r + K) % 4]))
}

/// Lane 0 of a, 1 of b, 2 of c, 3 of d.
#[inline(always)]
pub fn diagonal(a: V, b: V, c: V, d: V) -> V {
    from_i([i(a)[0], i(b)[1], i(c)[2], i(d)[3]])
}

/// How a quantized activation is stored.
pub type Code = i8;
/// Vectors of weights' rows that a tile takes at a time.
pub const SPAN: usize = 2;

/// Four activations for each lane.
#[derive(Clone, Copy)]
pub struct Quad([[i8; 4]; 4]);

/// Sixteen activations of one row.
#[derive(Clone, Copy)]
pub struct Sixteen([[i8; 4]; 4]);

/// Four i32 sums in the making.
#[derive(Clone, Copy)]
pub struct Sums(I);

impl Sixteen {
    #[inline(always)]
    pub fn load(codes: &[[Code; 4]; 4]) -> Self {
        Sixteen(*codes)
    }

    /// Four of them, the same in all lanes.
    #[inline(always)]
    pub fn quad(self, group: usize) -> Quad {
        Quad([self.0[group]; 4])
    }
}

impl Quad {
    /// Four activations of each of four rows. Lane r of vector k has row (r + k) mod 4.
    ///
    /// # Safety
    /// Sixteen codes are there.
    #[inline(always)]
    pub unsafe fn load_rotated(at: *const Code) -> [Quad; 4] {
        // SAFETY: the caller's promise.
        let rows = unsafe { at.cast::<[[i8; 4]; 4]>().read_unaligned() };
        std::array::from_fn(|k| Quad(std::array::from_fn(|r| rows[(r + k) % 4])))
    }
}

/// Sixteen codes in groups of four, given as integers within ±127.
#[inline(always)]
pub fn narrow_codes(integers: [V; 4]) -> [[Code; 4]; 4] {
    integers.map(|four| i(four).map(|q| q as Code))
}

impl Sums {
    #[inline(always)]
    pub fn new(start: V) -> Self {
        Sums(i(start))
    }

    #[inline(always)]
    pub fn add_unsigned(&mut self, weights: V, quad: Quad) {
        for (lane, sum) in self.0.iter_mut().enumerate() {
            for t in 0..4 {
                *sum += i32::from(weights.0[lane * 4 + t]) * i32::from(quad.0[lane][t]);
            }
        }
    }

    #[inline(always)]
    pub fn add_signed(&mut self, weights: V, quad: Quad) {
        for (lane, sum) in self.0.iter_mut().enumerate() {
            for t in 0..4 {
                *sum += i32::from(weights.0[lane * 4 + t] as i8) * i32::from(quad.0[lane][t]);
            }
        }
    }

    #[inline(always)]
    pub fn finish(self) -> V {
        from_i(self.0)
    }
}

pub fn takes_bytes() -> bool {
    true
}

#[inline(always)]
pub fn signed_start(_negative_sums: V) -> V {
    splat_i32(0)
}
