//! x += y, x *= a number, x = f(x), x = f(x)·y: a thread per four values of a row.

use super::{Slot, THREADS, function};
use crate::gpu::call::Call;
use crate::plan::Activation;

/// x += y
pub fn add(x: &Slot, y: &Slot) -> Call {
    call("", "x[at] + y[at]", x, Some(y))
}

/// x *= by
pub fn scale(x: &Slot, by: f32) -> Call {
    call("", "x[at] * params.by", x, None).number("by", by)
}

/// x = f(x)
pub fn activate(f: Activation, x: &Slot) -> Call {
    call(function(f), "f4(x[at])", x, None)
}

/// x = f(x)·y
pub fn gate(f: Activation, x: &Slot, y: &Slot) -> Call {
    call(function(f), "f4(x[at]) * y[at]", x, Some(y))
}

fn call(function: &str, value: &str, x: &Slot, y: Option<&Slot>) -> Call {
    let four = "fn f4(x: vec4<f32>) -> vec4<f32> {\n  return vec4<f32>(f(x.x), f(x.y), f(x.z), f(x.w));\n}\n";
    let four = if function.is_empty() { "" } else { four };
    let body = [function, four, &wgsl!("elementwise").replace("$value", value)].concat();
    let mut call = Call::new("elementwise", body, x.fours().div_ceil(THREADS));
    if let Some(y) = y {
        call = call.reads("y", "vec4<f32>", &y.buffer);
    }
    call.writes("x", "vec4<f32>", &x.buffer).param("stride", x.fours())
}
