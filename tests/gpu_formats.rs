//! The GPU's kernels for block formats: weights and products against the plain formulas.

mod support;

use support::formats::{DECODED, FORMATS};
use support::gpu::open;
use support::products::{ROUNDING, check, columns, run, table};
use wisplm::plan::{Head, Op};

#[test]
fn weights_are_those_that_the_cpu_has() {
    let gpu = open();
    for kind in FORMATS.into_iter().chain(DECODED) {
        for &cols in columns(kind) {
            for (rows, chunk) in [(2, 1), (3, 7), (19, 1000), (40, usize::MAX)] {
                let table = table("t", kind, rows, cols, 1);
                let tokens: Vec<u32> = (0..rows as u32).collect();
                let got = run(&gpu, &[&table], chunk, &tokens, |b| {
                    let (weight, out) = (b.matrix("t", rows, cols).unwrap(), b.slot(cols));
                    b.push(Op::Embed { table: weight, scale: 1.0, out });
                    Head::Hidden { x: out }
                });
                assert!(got == table.weights, "{}: {rows} × {cols}", table.info.kind.name());
            }
        }
    }
}

#[test]
fn products_are_those_of_the_weights() {
    // On both sides of a tile of outputs, and of rows.
    check(&open(), &[2, 65, 130], &[1, 9, 33], ROUNDING);
}
