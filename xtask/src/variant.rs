//! The builds of the crate. A page downloads the one that its browser can run best.

use anyhow::{Context, Result};

pub struct Variant {
    pub name: &'static str,
    /// Whether threads share its memory. wasm-bindgen's glue is another one then.
    pub shared: bool,
    /// `-C target-feature`, over rustc's defaults for wasm32.
    pub target_features: &'static str,
    /// `-C link-arg`s.
    pub link_arguments: &'static [&'static str],
    /// What `wasm-opt` may assume, over `optimizer::FEATURES`.
    pub optimizer_features: &'static [&'static str],
    /// The proposals, as wasmparser names them, without which the module must do: a browser that lacks one of
    /// them rejects the whole module for a single opcode of it.
    pub forbidden: &'static [&'static str],
    /// The proposals that the variant exists for: a module that makes no use of one was not built as meant.
    pub required: &'static [&'static str],
}

pub const ALL: &[Variant] = &[
    Variant {
        name: "simd",
        shared: false,
        target_features: "+simd128,+bulk-memory",
        link_arguments: &[],
        optimizer_features: &[],
        forbidden: &["relaxed_simd", "threads"],
        required: &["simd"],
    },
    Variant {
        name: "relaxed",
        shared: false,
        target_features: "+simd128,+bulk-memory,+relaxed-simd",
        link_arguments: &[],
        optimizer_features: &["--enable-relaxed-simd"],
        forbidden: &["threads"],
        required: &["simd", "relaxed_simd"],
    },
    Variant {
        name: "threads",
        shared: true,
        target_features: "+simd128,+bulk-memory,+mutable-globals,+atomics",
        link_arguments: SHARED_MEMORY,
        optimizer_features: &["--enable-threads"],
        forbidden: &["relaxed_simd"],
        required: &["simd", "threads"],
    },
    Variant {
        name: "relaxed-threads",
        shared: true,
        target_features: "+simd128,+bulk-memory,+mutable-globals,+atomics,+relaxed-simd",
        link_arguments: SHARED_MEMORY,
        optimizer_features: &["--enable-threads", "--enable-relaxed-simd"],
        forbidden: &[],
        required: &["simd", "relaxed_simd", "threads"],
    },
];

/// The page makes the memory, of at most 4 GiB and less where the browser has no room for that, and each thread
/// makes its own stack and thread-locals.
const SHARED_MEMORY: &[&str] = &[
    "--shared-memory",
    "--import-memory",
    "--max-memory=4294967296",
    "--export=__wasm_init_tls",
    "--export=__tls_size",
    "--export=__tls_align",
    "--export=__tls_base",
];

pub fn named(name: &str) -> Result<&'static Variant> {
    ALL.iter().find(|variant| variant.name == name).with_context(|| {
        let names: Vec<_> = ALL.iter().map(|variant| variant.name).collect();
        format!("no variant {name:?}; there are: {}, all", names.join(", "))
    })
}
