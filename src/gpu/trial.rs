//! Trials of shapes on a model's own matrices, once on each adapter: what is fastest differs from card to card by more
//! than any rule says. They take some tens of milliseconds for each format.

use super::call::{ALIGNMENT, Call, Dispatch};
use super::device::Gpu;
use super::kernels::{Epilogue, Product, Shape, Slot, Tile, tiled, tried};
use super::weights::Matrix;
use crate::error::Result;
use std::rc::Rc;

/// Threads that share outputs, and these outputs: what is tried beside the shape that is taken untried.
const SHAPES: [[usize; 2]; 7] = [[32, 4], [32, 2], [32, 1], [16, 4], [16, 2], [8, 4], [64, 4]];
/// Bytes of matrices that a trial reads: more than caches hold, so that they come from memory as in a model.
const BYTES: u64 = 96 << 20;
/// Formats that are tried, those with the most bytes: others are a small part of the model.
const FORMATS: usize = 3;
/// Each trial is run so often, and its fastest run counts.
const RUNS: usize = 3;
/// What another shape, or form, must be faster by: less is chance. A form that costs accuracy must be worth it.
const FASTER: f64 = 1.03;
const MUCH_FASTER: f64 = 1.3;
/// Rows of a tile's trial.
const ROWS: usize = 64;

/// What is tried on the matrices of a model, and where it is run.
pub struct Trial<'a> {
    pub gpu: &'a Rc<Gpu>,
    pub matrices: Vec<&'a Matrix>,
    /// Milliseconds since some time.
    pub now: fn() -> f64,
}

impl Trial<'_> {
    /// Finds what the device's tuning does not say yet: true if there was something, which it says from now on.
    pub async fn run(&self) -> Result<bool> {
        let mut tuning = self.gpu.tuning();
        let mut formats: Vec<(&str, u64)> = vec![];
        for matrix in &self.matrices {
            let (name, bytes) = (matrix.format.kind.name(), matrix.bytes_of(matrix.rows));
            match formats.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += bytes,
                None => formats.push((name, bytes)),
            }
        }
        formats.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        // Floats have one tile.
        let coded = |name: &str| {
            self.matrices.iter().any(|matrix| matrix.format.kind.name() == name && !matrix.format.is_float())
        };
        let tiled = formats.iter().map(|(name, _)| *name).find(|name| coded(name));
        formats.truncate(FORMATS);
        let before = tuning.clone();
        for (name, _) in &formats {
            if !tuning.products.contains_key(*name) {
                let Shape { lanes, rows, .. } = self.fastest_shape(name).await?;
                tuning.products.insert((*name).to_owned(), [lanes, rows]);
            }
        }
        if tuning.tile.is_none()
            && let Some(name) = tiled
        {
            tuning.tile = Some(self.fastest_tile(name).await?);
        }
        let found = tuning != before;
        self.gpu.tune(tuning);
        Ok(found)
    }

    /// Matrices of a format, as many as a trial reads, the largest first.
    fn of(&self, format: &str, bytes: u64) -> Vec<&Matrix> {
        let mut all: Vec<&Matrix> =
            self.matrices.iter().copied().filter(|matrix| matrix.format.kind.name() == format).collect();
        all.sort_by_key(|matrix| std::cmp::Reverse(matrix.rows * matrix.cols));
        let mut sum = 0;
        let fits = |matrix: &&Matrix| {
            let before = sum;
            sum += matrix.bytes_of(matrix.rows);
            before < bytes
        };
        all.into_iter().take_while(fits).collect()
    }

    async fn fastest_shape(&self, format: &str) -> Result<Shape> {
        let matrices = self.of(format, BYTES);
        let slots = self.slots(&matrices, 1);
        let shapes = SHAPES.map(|[lanes, rows]| Shape { lanes, rows, tokens: 1 });
        let mut best = (shapes[0], f64::INFINITY);
        for shape in shapes {
            let call = |product: &Product| tried(self.gpu, shape, &slots[0], product);
            let ms = self.time(&matrices, &slots, 1, call).await?;
            if ms * FASTER < best.1 {
                best = (shape, ms);
            }
        }
        Ok(best.0)
    }

    async fn fastest_tile(&self, format: &str) -> Result<Tile> {
        // The first is the largest, often the table of tokens: prompts do not pass that.
        let all = self.of(format, BYTES);
        let matrices = if all.len() > 1 { &all[1..] } else { &all[..] };
        let slots = self.slots(matrices, ROWS);
        let mut best: Option<(Tile, f64)> = None;
        // The one that is taken untried is last but for bytes.
        for tile in Tile::ALL.into_iter().filter(|tile| tile.can_run(self.gpu.features())) {
            let call = |product: &Product| tiled(tile, &slots[0], product, Epilogue::Store);
            let ms = self.time(matrices, &slots, ROWS, call).await?;
            let faster = if tile == Tile::Packed { MUCH_FASTER } else { FASTER };
            if best.is_none_or(|(_, least)| ms * faster < least) {
                best = Some((tile, ms));
            }
        }
        Ok(best.map_or(Tile::Plain, |(tile, _)| tile))
    }

    /// Room for the widest input, and the widest output.
    fn slots(&self, matrices: &[&Matrix], rows: usize) -> [Slot; 2] {
        let widest =
            |width: fn(&Matrix) -> usize| matrices.iter().map(|matrix| width(matrix)).max().unwrap_or(1);
        [widest(|matrix| matrix.cols), widest(|matrix| matrix.rows)]
            .map(|width| Slot::new(self.gpu, rows, width))
    }

    /// Milliseconds of a product with each matrix.
    async fn time(
        &self,
        matrices: &[&Matrix],
        slots: &[Slot; 2],
        rows: usize,
        call: impl Fn(&Product) -> Call,
    ) -> Result<f64> {
        let step = self.gpu.uniform(ALIGNMENT);
        self.gpu.write(&step, 0, bytemuck::cast_slice(&[0, rows as u32, 0, 0]));
        let part = |matrix| Product { matrix, part: &matrix.parts[0], bias: None, out: &slots[1] };
        let dispatches: Vec<Dispatch> =
            matrices.iter().map(|matrix| call(&part(matrix)).compile(self.gpu, &step)).collect();
        let mut least = f64::INFINITY;
        // The first run compiles.
        for run in 0..=RUNS {
            let began = (self.now)();
            self.gpu.submit(|encoder| {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                for dispatch in &dispatches {
                    dispatch.encode(self.gpu, &mut pass, None, 0, rows);
                }
            });
            let done = self.gpu.done();
            self.gpu.settle()?;
            done.await;
            self.gpu.check()?;
            if run > 0 {
                least = least.min((self.now)() - began);
            }
        }
        Ok(least)
    }
}
