//! out = softmax(scale·qK + mask)·V: a workgroup per head and row. Of as many positions as it has threads, each thread
//! scores one; then it sums up four columns of the values, over all of them or, where there are more threads than
//! fours, over its team's share. The softmax is made on the way: what was summed up shrinks when a higher
//! score comes.
//!
//! Fused, for one row of a sequence: queries and keys are also normalized and rotated, and keys and values stored.
//! Nobody reads what another workgroup stores: each begins with the row's own key and value. Of many keys several
//! workgroups take a share each, and `merge.wgsl` puts their results together.
//!
//! Of a sequence that has keys in common with others, each piece of memory has a dispatch of its own, which goes on from
//! what the one before has left (`pieces.wgsl`).

use super::{PUT, Slot, THREADS, fold, four, four_of};
use crate::gpu::call::{Call, Constants, FEW, Scope, When};
use crate::gpu::device::Gpu;
use crate::gpu::sequence::Layer;
use crate::plan::Pairs;

/// Threads of a workgroup that every device has.
const MOST_THREADS: usize = 256;
/// Workgroups that share the keys of a head where these are many.
const SPLITS: usize = 8;
/// WGSL of what keys have to do with those of other pieces.
const PIECES: &str = wgsl!("pieces");
const WHOLE: &str = wgsl!("whole");

/// An attention.
pub struct Attend<'a> {
    pub layer: &'a Layer,
    /// The layer's number.
    pub index: usize,
    pub heads: usize,
    pub scale: f32,
    pub softcap: Option<f32>,
    /// Whether a row sees only those before it.
    pub causal: bool,
    pub q: &'a Slot,
    pub out: &'a Slot,
    /// The highest score and the total of each head, between pieces.
    pub totals: &'a wgpu::Buffer,
}

/// What comes before it.
pub struct Fused<'a> {
    pub k: &'a Slot,
    pub v: &'a Slot,
    /// RMS norms of queries' and of keys' heads, and their ε.
    pub norms: Option<([&'a [f32]; 2], f32)>,
    /// How pairs lie, how many there are, and their angles.
    pub rotation: Option<(Pairs, usize, &'a wgpu::Buffer)>,
}

/// An attention by itself, of a row at a time.
pub fn attend(gpu: &Gpu, attend: &Attend) -> Call {
    single(gpu, attend, None, None)
}

/// An attention with what comes before it, for one row of each sequence. Where keys are many they are shared out among
/// several workgroups of a head: heads alone are too few for a card.
pub fn attend_fused(gpu: &Gpu, attend: &Attend, fused: &Fused, shares: &wgpu::Buffer) -> Vec<Call> {
    if gpu.is_software() {
        return vec![single(gpu, attend, Some(fused), None)];
    }
    vec![
        single(gpu, attend, Some(fused), None).when(When::Short),
        single(gpu, attend, Some(fused), Some(shares)).when(When::Long),
        merge(attend, shares).when(When::Long),
    ]
}

/// Bytes of the highest scores and totals of `heads` heads.
pub fn total_bytes(heads: usize, rows: usize) -> u64 {
    8 * (heads * rows) as u64
}

/// Bytes of what the splits of `heads` heads of [`FEW`] rows leave.
pub fn share_bytes(heads: usize, dim: usize) -> u64 {
    4 * (FEW * heads * SPLITS * (dim + 2)) as u64
}

fn single(gpu: &Gpu, attend: &Attend, fused: Option<&Fused>, shares: Option<&wgpu::Buffer>) -> Call {
    let Attend { layer, heads, out, .. } = attend;
    let fours = layer.fours();
    // A step of one row has few workgroups, and its threads many positions.
    let threads = if fused.is_some() && !gpu.is_software() { MOST_THREADS } else { THREADS };
    // On a processor a thread takes a row of its own where there are many: its neighbours read the same keys.
    let serial = fused.is_none() && gpu.is_software();
    let prepare = match fused {
        Some(fused) => fold(threads) + &preparation(fused),
        None if serial => four_of("q"),
        None => fold(threads) + &four_of("q") + wgsl!("attend_query"),
    };
    let splits = if shares.is_some() { SPLITS } else { 1 };
    let finish = match shares {
        None => wgsl!("attend_finish"),
        Some(_) => wgsl!("attend_share"),
    };
    let body = if serial { wgsl!("attend_serial") } else { wgsl!("attend") }
        .replace("$SUMS", &fours.div_ceil(threads).to_string())
        .replace("$TEAMS", &(threads / fours).max(1).to_string())
        .replace("$SPLITS", &splits.to_string())
        .replace("$finish", finish)
        .replace("$capped", &attend.capped())
        .replace("$begin", attend.begin())
        .replace("$end", attend.end())
        .replace("$known", if fused.is_some() { "min(end, position)" } else { "end" });
    // Shares are joined by what puts them together.
    let joining = if shares.is_some() { WHOLE } else { attend.joining() };
    let call = Call::new(
        "attend",
        [&layer.source(), &prepare, wgsl!("product"), joining, &body].concat(),
        heads * splits,
    )
    .tiles(if serial { THREADS as u32 } else { 1 });
    let mut call = match shares {
        Some(shares) => attend.bind(call, shares, fused.is_some()).in_pieces(attend.layer.window.is_none()),
        None => attend.join(attend.bind(call, &out.buffer, fused.is_some())),
    };
    let Some(Fused { k, v, norms, rotation }) = fused else { return call };
    call = call
        .reads("k", "f32", &k.buffer)
        .reads("v", "f32", &v.buffer)
        .param("k_stride", k.stride)
        .param("v_stride", v.stride);
    if let Some((_, pairs, angles)) = rotation {
        call = call.reads("angles", "vec2<f32>", angles).param("pairs", *pairs);
    }
    if let Some((weights, eps)) = norms {
        let vectors = Constants::new(weights.concat());
        call = call.reads_all("vectors", "f32", &vectors).number("eps", *eps);
    }
    call
}

/// What the splits have left, put together.
fn merge(attend: &Attend, shares: &wgpu::Buffer) -> Call {
    let Attend { layer, heads, out, .. } = attend;
    let (dim, splits) = (layer.dim, SPLITS);
    let sizes = format!("const DIM = {dim}u;\nconst SPLITS = {splits}u;\nconst STRIDE = {}u;\n", dim + 2);
    let call = Call::new("merge", [&sizes, attend.joining(), wgsl!("merge")].concat(), *heads)
        .scope(Scope::Sequences)
        .reads("splits", "f32", shares)
        .writes("out", "f32", &out.buffer)
        .param("heads", *heads)
        .param("out_stride", out.stride);
    attend.join(call)
}

impl Attend<'_> {
    /// WGSL of a score's cap.
    pub fn capped(&self) -> String {
        let cap = |cap| format!("{cap:?} * tanh(clamp(score / {cap:?}, -10.0, 10.0))");
        self.softcap.map_or("score".to_owned(), cap)
    }

    /// WGSL of where what a row at `position` sees ends.
    pub fn end(&self) -> &'static str {
        match (self.causal, self.layer.window) {
            (false, _) => "now.start + now.rows",
            (true, None) => "min(position + 1u, now.until)",
            (true, Some(_)) => "position + 1u",
        }
    }

    /// WGSL of where it begins that a row without a window sees.
    pub fn begin(&self) -> &'static str {
        if self.causal { "now.origin" } else { "now.start" }
    }

    /// WGSL of what it has to do with other pieces: a ring is one.
    pub fn joining(&self) -> &'static str {
        if self.layer.window.is_none() { PIECES } else { WHOLE }
    }

    /// Has it go on from piece to piece.
    pub fn join(&self, call: Call) -> Call {
        match self.layer.window {
            None => call.in_pieces(true).writes("totals", "vec2<f32>", self.totals),
            Some(_) => call,
        }
    }

    /// Binds queries, keys and values, and where results go.
    pub fn bind(&self, call: Call, out: &wgpu::Buffer, writes: bool) -> Call {
        let Attend { layer, heads, q, .. } = self;
        call.scope(Scope::Sequences)
            .reads("q", "f32", &q.buffer)
            .layer(self.index, writes)
            .writes("out", "f32", out)
            .param("heads", layer.heads)
            .param("share", heads / layer.heads)
            .param("window", layer.window.unwrap_or(0))
            .param("q_stride", q.stride)
            .param("out_stride", self.out.stride)
            .number("scale", self.scale)
    }
}

/// WGSL that readies the query and the row's own key and value.
fn preparation(fused: &Fused) -> String {
    let turned = match fused.rotation {
        None => wgsl!("unturned").to_owned(),
        Some((pairs, ..)) => {
            let (pair, first, second, is_first) = match pairs {
                Pairs::Interleaved => ("e / 2u", "pair * 2u", "pair * 2u + 1u", "e % 2u == 0u"),
                Pairs::Halves => ("e % params.pairs", "pair", "pair + params.pairs", "e < params.pairs"),
            };
            wgsl!("turned")
                .replace("$pair", pair)
                .replace("$first", first)
                .replace("$second", second)
                .replace("$is", is_first)
        }
    };
    let normed = match fused.norms {
        Some(_) => wgsl!("normed"),
        None => "fn normed(which: u32, lane: u32) {\n}\n",
    };
    // A key's row is where its angles are.
    let fours = four("turned", "turned(known, at)") + &four_of("v");
    [normed, &turned, &fours, PUT, wgsl!("attend_fused")].concat()
}
