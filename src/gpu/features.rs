//! What an adapter may have that WebGPU does not promise, and that kernels have forms for.

/// Whether each is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Arithmetic of 16-bit floats.
    pub f16: bool,
    /// Threads that exchange values without memory, the fewest that do: 0 where none do.
    pub subgroup: usize,
    /// Products of four bytes at once.
    pub packed_dot: bool,
}

impl Features {
    /// Names as WebGPU has them.
    pub fn names(self) -> Vec<&'static str> {
        let Features { f16, subgroup, packed_dot } = self;
        let all = [
            (packed_dot, "packed_4x8_integer_dot_product"),
            (f16, "shader-f16"),
            (subgroup > 0, "subgroups"),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect()
    }

    /// What both have.
    pub fn and(self, other: Self) -> Self {
        Features {
            f16: self.f16 && other.f16,
            subgroup: self.subgroup.min(other.subgroup),
            packed_dot: self.packed_dot && other.packed_dot,
        }
    }
}

/// A line that WGSL begins with where a kernel uses such a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    F16,
    Subgroups,
}

impl Extension {
    pub fn source(self) -> &'static str {
        match self {
            Extension::F16 => "enable f16;\n",
            // Browsers want it said; naga, which compiles natively, does not know it.
            Extension::Subgroups if cfg!(target_arch = "wasm32") => "enable subgroups;\n",
            Extension::Subgroups => "",
        }
    }
}
