//! Products whose threads each have their sums for themselves, as on a program that computes in a card's place. They are
//! made in loops: SwiftShader compiles the kernels of a tiny model in 2.0 seconds then, in 5.9 if they are written out,
//! and a token of SmolLM2 takes as long either way.

use super::THREADS;
use super::products::{Input, Shape};

/// WGSL, as `products` has it, of a function `product`k of matrices `ks`, of which k is the first.
pub fn looped(Shape { rows, tokens, .. }: Shape, input: &Input, ks: &[usize], assign: &str) -> String {
    let (first, sums) = (ks[0], rows * tokens);
    let all = |text: &dyn Fn(usize) -> String| ks.iter().map(|k| text(*k)).collect::<String>();
    let block = |k: usize, r: &str| {
        format!("unpack{k}(min(row0 + {r}, params.rows{first} - 1u) * params.blocks + b)")
    };
    let x = |t: &str| match input.norm {
        Some(_) => format!(
            "let read = input(base_of(token0 + {t}), b);
      let x = normed(read, b);
      squares[{t}] += times(read, read);"
        ),
        None => format!("let x = input(base_of(token0 + {t}), b);"),
    };
    let (kind, body) = if tokens == 1 {
        // For one row of x it is better to hold that than the weights. It has four sums at most: what a loop adds to is
        // faster in a vector than in an array.
        let add = |k| {
            let sum = format!("vec4<f32>(times({}, x))", block(k, "r"));
            format!(
                "      sum{k} += select(vec4<f32>(), {sum}, vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(r));\n"
            )
        };
        let loops = format!("    for (var r = 0u; r < {rows}u; r += 1u) {{\n{}    }}\n", all(&add));
        ("vec4<f32>".to_owned(), format!("    {}\n{loops}", x("0u")))
    } else {
        let numbers = |text: &dyn Fn(usize) -> String| (0..rows).map(text).collect::<String>();
        let weights = |k| numbers(&|r| format!("    let w{k}_{r} = {};\n", block(k, &format!("{r}u"))));
        let add = |k| numbers(&|r| format!("      sum{k}[t * {rows}u + {r}u] += times(w{k}_{r}, x);\n"));
        let loops = format!("    for (var t = 0u; t < min({tokens}u, now.rows - token0); t += 1u) {{\n");
        let adds = format!("      {}\n{}    }}\n", x("t"), all(&add));
        (format!("array<f32, {sums}>"), all(&weights) + &loops + &adds)
    };
    let variables = all(&|k| format!("  var sum{k}: {kind};\n"));
    let factor = input.norm.map_or(String::new(), |_| format!(" * factor(squares[i / {rows}u])"));
    let totals = all(&|k| format!("      let total{k} = sum{k}[i]{factor};\n"));
    format!(
        "fn product{first}(token0: u32, group: u32, lane: u32) {{
  let row0 = (group * {THREADS}u + lane) * {rows}u;
  var squares: array<f32, {tokens}>;
{variables}  for (var b = 0u; b < params.blocks; b += 1u) {{
{body}  }}
  for (var i = 0u; i < {sums}u; i += 1u) {{
    let row = row0 + i % {rows}u;
    let token = token0 + i / {rows}u;
    if (row < params.rows{first} && token < now.rows) {{
{totals}      {assign}
    }}
  }}
}}
"
    )
}
