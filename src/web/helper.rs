//! The life of a worker that helps the engine compute: it shares the engine's memory and has a stack of its own.
//!
//! The builds without shared memory have the same surface; nobody can call it from a second worker there.

use crate::cpu::team::{Core, Team};
use std::sync::{Arc, LazyLock};
use wasm_bindgen::prelude::*;

/// One team for each memory.
static CORE: LazyLock<Arc<Core>> = LazyLock::new(Arc::default);

pub(super) fn core() -> Arc<Core> {
    CORE.clone()
}

/// Gives this worker to the engine until it is dismissed. Blocks, in sleep where there is nothing to do.
#[wasm_bindgen]
pub fn help() {
    CORE.help();
}

/// Lets all helpers go, those too that have not come yet. A worker that sleeps in `help` cannot be told by a message, and
/// the browser takes two seconds to end it by force.
#[wasm_bindgen(js_name = dismissHelpers)]
pub fn dismiss_helpers() {
    drop(Team::of(core()));
}

/// Notes that `help` has not returned but trapped, so that nobody waits for this worker.
#[wasm_bindgen(js_name = helperLost)]
pub fn helper_lost() {
    CORE.lose();
}
