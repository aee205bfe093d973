//! A panel unpacked for many rows of activations: bytes and f32 scales, in the first cache.
//!
//! Unpacking costs as much as two to four rows' dot products: a prompt of 128 rows pays it once per panel, and all
//! formats with the same rule share one kernel.

use super::source::{Layout, Packed, Rule};
use crate::cpu::simd::{self, V};
use crate::quant::{PANEL, Panel};

/// 32 columns × 8 rows. A panel of 2048 columns takes 22 KB.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct Block {
    /// Vector `group·2 + half of the rows`.
    pub codes: [[u8; 16]; 16],
    /// Of both halves of the columns, or of all in the first.
    pub scales: [[f32; PANEL]; 2],
    pub minima: [f32; PANEL],
}

const EMPTY: Block = Block { codes: [[0; 16]; 16], scales: [[0.0; PANEL]; 2], minima: [0.0; PANEL] };

/// The buffer of one thread.
#[derive(Default)]
pub struct Unpacked {
    len: usize,
    blocks: Vec<Block>,
    rescale: f32,
    /// Whether signed codes have their highest bits turned over.
    turned: bool,
    /// Of formats that are no integers: see [`super::Product::Float`].
    pub wide: Vec<f32>,
}

impl Unpacked {
    /// Takes all weights of a panel.
    pub fn fill<L: Layout>(&mut self, panel: Panel) {
        let width = panel.codes.len() / <L::Codes as crate::quant::Codes>::BYTES;
        if self.blocks.len() < width {
            self.blocks.resize(width, EMPTY);
        }
        self.len = width;
        self.rescale = L::RESCALE;
        self.turned = L::Rule::SIGNED && simd::takes_bytes();
        let turn = simd::splat_u8(if self.turned { 128 } else { 0 });
        let mut blocks = self.blocks.iter_mut();
        Packed::<L>::for_each(panel, |packed| {
            let Some(block) = blocks.next() else { return };
            for group in 0..8 {
                let [w0, w1] = packed.group(group);
                let [w0, w1] =
                    if L::Rule::SIGNED { [simd::xor(w0, turn), simd::xor(w1, turn)] } else { [w0, w1] };
                simd::store(&mut block.codes[group * 2], w0);
                simd::store(&mut block.codes[group * 2 + 1], w1);
            }
            put(&mut block.scales[0], packed.scales(0));
            if L::Rule::HALVES {
                put(&mut block.scales[1], packed.scales(1));
            }
            if L::Rule::MINIMA {
                put(&mut block.minima, packed.minima());
            }
        });
    }

    /// What sums are multiplied by in the end: see [`Layout::RESCALE`].
    pub fn rescale(&self) -> f32 {
        self.rescale
    }

    /// Whether the codes, signed ones, stand for 128 less than they say.
    pub fn turned(&self) -> bool {
        self.turned
    }

    pub fn blocks(&self) -> &[Block] {
        &self.blocks[..self.len]
    }
}

#[inline(always)]
fn put(to: &mut [f32; PANEL], [a, b]: [V; 2]) {
    simd::store_f32(to, 0, a);
    simd::store_f32(to, 4, b);
}
