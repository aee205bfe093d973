//! The builds. Of the engine's, a page downloads the one that its browser can run best.

use anyhow::{Context, Result};

pub struct Variant {
    pub name: &'static str,
    /// The crate that it is a build of.
    pub package: &'static str,
    /// Whether threads share its memory. wasm-bindgen's glue is another one then.
    pub shared: bool,
    /// `-C target-feature`, over rustc's defaults for wasm32. The same for all variants with a shared memory, and for all
    /// without.
    pub target_features: &'static str,
    /// What the engine's own crate may use over that.
    pub own_features: &'static str,
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
        package: ENGINE,
        shared: false,
        target_features: ALONE,
        own_features: "+simd128",
        link_arguments: &[],
        optimizer_features: &[],
        forbidden: &["relaxed_simd", "threads"],
        required: &["simd"],
    },
    Variant {
        name: "relaxed",
        package: ENGINE,
        shared: false,
        target_features: ALONE,
        own_features: "+relaxed-simd",
        link_arguments: &[],
        optimizer_features: &["--enable-relaxed-simd"],
        forbidden: &["threads"],
        required: &["simd", "relaxed_simd"],
    },
    Variant {
        name: "threads",
        package: ENGINE,
        shared: true,
        target_features: SHARED,
        own_features: "+simd128",
        link_arguments: SHARED_MEMORY,
        optimizer_features: &["--enable-threads"],
        forbidden: &["relaxed_simd"],
        required: &["simd", "threads"],
    },
    Variant {
        name: "relaxed-threads",
        package: ENGINE,
        shared: true,
        target_features: SHARED,
        own_features: "+relaxed-simd",
        link_arguments: SHARED_MEMORY,
        optimizer_features: &["--enable-threads", "--enable-relaxed-simd"],
        forbidden: &[],
        required: &["simd", "relaxed_simd", "threads"],
    },
    // Every browser that takes one of the others takes this one.
    Variant {
        name: "constraint",
        package: "wisplm-constraint",
        shared: false,
        target_features: ALONE,
        own_features: "+simd128",
        link_arguments: &[],
        optimizer_features: &[],
        forbidden: &["relaxed_simd", "threads"],
        required: &[],
    },
];

/// The crate at the root.
pub const ENGINE: &str = "wisplm";

const ALONE: &str = "+simd128,+bulk-memory";
const SHARED: &str = "+simd128,+bulk-memory,+mutable-globals,+atomics";

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

impl Variant {
    /// Whether wasm-bindgen's glue is the same for both.
    pub fn has_glue_of(&self, other: &Variant) -> bool {
        (self.package, self.shared) == (other.package, other.shared)
    }
}

pub fn named(name: &str) -> Result<&'static Variant> {
    ALL.iter().find(|variant| variant.name == name).with_context(|| {
        let names: Vec<_> = ALL.iter().map(|variant| variant.name).collect();
        format!("no variant {name:?}; there are: {}, all", names.join(", "))
    })
}
