//! The same attention for many rows: a workgroup per head and 16 or 32 rows, which share the keys and values that it
//! reads. Four threads have a row, each a quarter of its columns in registers; 16 keys at a time are in workgroup
//! memory, then their values. The four threads' sums meet in it too, or are exchanged where threads can do that.

use super::THREADS;
use super::attend::Attend;
use super::products::together;
use crate::gpu::call::Call;
use crate::gpu::device::Gpu;
use crate::gpu::features::Extension;
use std::fmt::Write;

/// Threads of a row.
const SLICES: usize = 4;
/// Bytes of workgroup memory that keys, then values, may take, and the most of them.
const TILE_BYTES: usize = 8192;
const MOST_KEYS: usize = 16;

/// An attention of many rows.
pub fn attend_tiled(gpu: &Gpu, attend: &Attend) -> Call {
    let fours = attend.layer.fours();
    // Vectors of a row that a thread has, twice: of the query, and of the result. Few leave room for another row.
    let own = fours.div_ceil(SLICES);
    let rows = if own <= 4 { 2 } else { 1 };
    let keys = MOST_KEYS.min(1 << (TILE_BYTES / 16 / fours).max(1).ilog2());
    let exchanges = gpu.features().subgroup >= SLICES;
    let all = THREADS / SLICES * rows;
    let sizes = format!("const ROWS = {all}u;\nconst OWN = {rows}u;\nconst KEYS = {keys}u;\n");
    let partial = match exchanges {
        true => together(SLICES),
        false => format!("var<workgroup> partial: array<f32, {}>;\n", all * keys * SLICES),
    };
    let Parts { prepare, score, combine, weigh, sum, finish } = Parts::new(rows, fours, exchanges);
    let body = wgsl!("attend_tiled")
        .replace("$partial", &partial)
        .replace("$capped", &attend.capped())
        .replace("$begin", attend.begin())
        .replace("$end", attend.end())
        .replace("$prepare", &prepare)
        .replace("$score", &score)
        .replace("$combine", &combine)
        .replace("$weigh", &weigh)
        .replace("$sum", &sum)
        .replace("$finish", &finish);
    let call = Call::new(
        "attend",
        [attend.layer.source(), attend.joining().to_owned(), sizes, body].concat(),
        attend.heads,
    )
    .tiles(all as u32);
    let call = attend.join(attend.bind(call, &attend.out.buffer, false));
    if exchanges { call.uses(Extension::Subgroups) } else { call }
}

/// What is said of each of a thread's rows and vectors: arrays would not stay in registers.
#[derive(Default)]
struct Parts {
    prepare: String,
    score: String,
    combine: String,
    weigh: String,
    sum: String,
    finish: String,
}

impl Parts {
    fn new(rows: usize, fours: usize, exchanges: bool) -> Self {
        let own = fours.div_ceil(SLICES);
        let mut parts = Parts::default();
        let Parts { prepare, score, combine, weigh, sum, finish } = &mut parts;
        let line = |text: &mut String, arguments: std::fmt::Arguments| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "      {arguments}");
        };
        for n in 0..own {
            let at = format!("j * FOURS + {}u + slice", SLICES * n);
            // Beyond the last of few columns is what nobody has written.
            let at = if fours.is_multiple_of(SLICES) { at } else { format!("min({at}, KEYS * FOURS - 1u)") };
            let vector = format!("let k{n} = tile[{at}];");
            line(score, format_args!("{vector}"));
            line(sum, format_args!("{vector}"));
        }
        for r in 0..rows {
            let at = format!("(own + {r}u) * KEYS + j");
            line(prepare, format_args!("let index{r} = first + own + {r}u;"));
            line(prepare, format_args!("let row{r} = now.first + min(index{r}, now.rows - 1u);"));
            line(prepare, format_args!("let begin{r} = begin_of(index{r}); let end{r} = end_of(index{r});"));
            line(prepare, format_args!("let head{r} = row{r} * params.heads * params.share + head;"));
            line(prepare, format_args!("let before{r} = left(head{r});"));
            line(prepare, format_args!("var most{r} = -1e30; var total{r} = 0.0;"));
            let dots: Vec<String> = (0..own).map(|n| format!("dot(q{r}_{n}, k{n})")).collect();
            line(score, format_args!("let score{r} = {};", dots.join(" + ")));
            let seen = format!("begin + j >= begin{r} && begin + j < end{r}");
            match exchanges {
                true => {
                    line(score, format_args!("let whole{r} = together(score{r});"));
                    line(score, format_args!("if (slice == j % 4u) {{"));
                    line(
                        score,
                        format_args!("  scores[{at}] = select(-1e30, capped(whole{r}), {seen});\n      }}"),
                    );
                }
                false => {
                    line(score, format_args!("partial[({at}) * 4u + slice] = score{r};"));
                    line(combine, format_args!("for (var j = slice; j < KEYS; j += 4u) {{"));
                    line(combine, format_args!("  let at = ({at}) * 4u;"));
                    line(
                        combine,
                        format_args!(
                            "  let whole = partial[at] + partial[at + 1u] + partial[at + 2u] + partial[at + 3u];"
                        ),
                    );
                    line(
                        combine,
                        format_args!("  scores[{at}] = select(-1e30, capped(whole), {seen});\n      }}"),
                    );
                }
            }
            line(weigh, format_args!("var top{r} = most{r};"));
            line(weigh, format_args!("for (var j = 0u; j < KEYS; j += 1u) {{"));
            line(weigh, format_args!("  top{r} = max(top{r}, scores[{at}]);\n      }}"));
            line(weigh, format_args!("let shrink{r} = exp(most{r} - top{r});"));
            line(weigh, format_args!("most{r} = top{r}; total{r} *= shrink{r};"));
            // Until a row has seen a key, its highest score is that of those which it does not see.
            line(sum, format_args!("let score{r} = scores[{at}];"));
            line(
                sum,
                format_args!("let weight{r} = select(0.0, exp(score{r} - most{r}), score{r} > -1e29);"),
            );
            line(sum, format_args!("total{r} += weight{r};"));
            line(finish, format_args!("if (index{r} < now.rows) {{"));
            line(
                finish,
                format_args!("  let mix = mixed(head{r}, slice == 0u, before{r}, most{r}, total{r});"),
            );
            for n in 0..own {
                let four = format!("{}u + slice", SLICES * n);
                let query = format!("query_at(row{r} * params.q_stride + head * DIM, {four})");
                line(prepare, format_args!("let q{r}_{n} = {query}; var o{r}_{n} = vec4<f32>();"));
                line(weigh, format_args!("o{r}_{n} *= shrink{r};"));
                line(sum, format_args!("o{r}_{n} += weight{r} * k{n};"));
                line(finish, format_args!("  put(row{r}, head, {four}, o{r}_{n}, mix);"));
            }
            line(finish, format_args!("}}"));
        }
        parts
    }
}
