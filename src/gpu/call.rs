//! A kernel with what it is bound to: the WGSL that declares it, its parameters, its grid.
//!
//! Bindings and parameters are named once, here; their declarations in WGSL and their bytes follow from that.

use super::device::Gpu;
use super::features::Extension;
use super::pipelines::Pipeline;
use std::cell::OnceCell;
use std::fmt::Write;
use std::num::NonZeroU64;
use std::rc::Rc;

/// The most workgroups along one axis of a grid.
const MOST_GROUPS: u32 = 65_535;
/// Dynamic offsets are multiples of this.
pub const ALIGNMENT: u64 = 256;
/// What a dispatch is told of a step.
pub const TOLD_BYTES: u64 = 24;

/// A static parameter.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    U(u32),
    F(f32),
}

/// Numbers that kernels read, in a buffer once they are bound.
pub struct Constants {
    values: Vec<f32>,
    buffer: OnceCell<wgpu::Buffer>,
}

impl Constants {
    pub fn new(values: Vec<f32>) -> Rc<Self> {
        Rc::new(Constants { values, buffer: OnceCell::new() })
    }

    fn buffer(&self, gpu: &Gpu) -> &wgpu::Buffer {
        self.buffer.get_or_init(|| {
            let buffer = gpu.buffer(4 * self.values.len() as u64);
            gpu.write(&buffer, 0, bytemuck::cast_slice(&self.values));
            buffer
        })
    }
}

/// What a binding shows.
#[derive(Clone)]
pub enum Memory {
    Buffer(wgpu::Buffer),
    Constants(Rc<Constants>),
    /// Keys and values of this layer, of whatever sequence runs.
    Layer(usize),
    /// This state of it.
    State(usize),
}

struct Binding {
    name: String,
    /// WGSL type of its elements.
    element: &'static str,
    writes: bool,
    memory: Memory,
}

/// Which rows a dispatch takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All rows of a step.
    Step,
    /// Those whose logits are asked for.
    Head,
    /// The rows of each sequence, by a dispatch of its own.
    Sequences,
}

/// Rows of the largest step that counts as few.
pub const FEW: usize = 16;

/// Which steps a dispatch is for. Others have one in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    /// Steps of so many rows, first to last.
    Rows(usize, usize),
    /// Steps of more rows than few.
    Many,
    /// Rows whose keys are so many that several workgroups share those of a head, in a step of few.
    Long,
    /// All but those.
    Short,
}

impl When {
    /// Whether this is such a step, of so many rows, of a sequence that is `long` or not.
    pub fn holds(self, rows: usize, long: bool) -> bool {
        let long = long && rows <= FEW;
        match self {
            When::Always => true,
            When::Rows(first, last) => (first..=last).contains(&rows),
            When::Many => rows > FEW,
            When::Long => long,
            When::Short => !long,
        }
    }

    /// Whether most generations do without such steps, which can then be compiled for when there is nothing else to do.
    fn is_rare(self) -> bool {
        match self {
            When::Long => true,
            When::Rows(first, _) => first > 1,
            When::Always | When::Many | When::Short => false,
        }
    }
}

/// A kernel, bound.
pub struct Call {
    label: &'static str,
    body: String,
    bindings: Vec<Binding>,
    params: Vec<(String, Value)>,
    /// Workgroups of one row or tile of rows.
    groups: u32,
    /// Rows that a workgroup takes.
    tile: u32,
    scope: Scope,
    in_pieces: bool,
    when: When,
    rare: bool,
    extensions: Vec<Extension>,
    weights: u64,
}

impl Call {
    /// A call of the kernel with this text, with `groups` workgroups for each row.
    pub fn new(label: &'static str, body: impl Into<String>, groups: usize) -> Self {
        Call {
            label,
            body: body.into(),
            bindings: vec![],
            params: vec![],
            groups: groups as u32,
            tile: 1,
            scope: Scope::Step,
            in_pieces: false,
            when: When::Always,
            rare: false,
            extensions: vec![],
            weights: 0,
        }
    }

    pub fn reads(mut self, name: impl Into<String>, element: &'static str, buffer: &wgpu::Buffer) -> Self {
        let memory = Memory::Buffer(buffer.clone());
        self.bindings.push(Binding { name: name.into(), element, writes: false, memory });
        self
    }

    pub fn writes(mut self, name: impl Into<String>, element: &'static str, buffer: &wgpu::Buffer) -> Self {
        let memory = Memory::Buffer(buffer.clone());
        self.bindings.push(Binding { name: name.into(), element, writes: true, memory });
        self
    }

    pub fn reads_all(
        mut self,
        name: impl Into<String>,
        element: &'static str,
        values: &Rc<Constants>,
    ) -> Self {
        let memory = Memory::Constants(Rc::clone(values));
        self.bindings.push(Binding { name: name.into(), element, writes: false, memory });
        self
    }

    /// Binds `kv` to keys and values of a layer.
    pub fn layer(mut self, layer: usize, writes: bool) -> Self {
        let memory = Memory::Layer(layer);
        self.bindings.push(Binding { name: "kv".into(), element: "u32", writes, memory });
        self
    }

    /// Binds `state` to both halves of a state: half `now.turn` is what the last step has left, the other is this one's.
    pub fn state(mut self, state: usize) -> Self {
        let memory = Memory::State(state);
        self.bindings.push(Binding { name: "state".into(), element: "f32", writes: true, memory });
        self
    }

    pub fn param(mut self, name: impl Into<String>, value: usize) -> Self {
        self.params.push((name.into(), Value::U(value as u32)));
        self
    }

    pub fn number(mut self, name: impl Into<String>, value: f32) -> Self {
        self.params.push((name.into(), Value::F(value)));
        self
    }

    /// Has each workgroup take `tile` rows.
    pub fn tiles(mut self, tile: u32) -> Self {
        self.tile = tile;
        self
    }

    /// Has each workgroup take all rows.
    pub fn whole_sequences(self) -> Self {
        self.tiles(u32::MAX)
    }

    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Says whether it is encoded for each piece of a sequence, in order, or for the last alone.
    pub fn in_pieces(mut self, in_pieces: bool) -> Self {
        self.in_pieces = in_pieces;
        self
    }

    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self.rare |= when.is_rare();
        self
    }

    /// Says that most generations do without it.
    pub fn rare(mut self) -> Self {
        self.rare = true;
        self
    }

    /// Says what its text uses beyond WGSL's core.
    pub fn uses(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Says how many bytes of weights it reads.
    pub fn weights(mut self, bytes: u64) -> Self {
        self.weights += bytes;
        self
    }

    fn source(&self) -> String {
        let mut source: String = self.extensions.iter().map(|extension| extension.source()).collect();
        let mut line = |text: std::fmt::Arguments| {
            // Writing to a string cannot fail.
            let _ = writeln!(source, "{text}");
        };
        line(format_args!("struct Params {{"));
        for (name, value) in &self.params {
            let kind = match value {
                Value::U(_) => "u32",
                Value::F(_) => "f32",
            };
            line(format_args!("  {name}: {kind},"));
        }
        line(format_args!(
            "}}\nstruct Step {{ first: u32, rows: u32, start: u32, turn: u32, origin: u32, until: u32 }}"
        ));
        for (index, Binding { name, element, writes, .. }) in self.bindings.iter().enumerate() {
            let access = if *writes { "read_write" } else { "read" };
            line(format_args!(
                "@group(0) @binding({index}) var<storage, {access}> {name}: array<{element}>;"
            ));
        }
        let (params, step) = (self.bindings.len(), self.bindings.len() + 1);
        line(format_args!("@group(0) @binding({params}) var<uniform> params: Params;"));
        line(format_args!("@group(0) @binding({step}) var<uniform> now: Step;"));
        line(format_args!(
            "fn place(group: vec3<u32>) -> u32 {{ return group.x + group.z * {MOST_GROUPS}u; }}"
        ));
        source + &self.body
    }

    /// Says which pipeline it needs, which is made when there is time for it.
    pub fn announce(&self, gpu: &Gpu) -> Rc<Pipeline> {
        let written: Vec<bool> = self.bindings.iter().map(|binding| binding.writes).collect();
        gpu.pipeline(self.label, self.source(), &written, self.rare)
    }

    /// Makes its pipeline, unless that is rarely needed, and its parameters.
    pub fn compile(self, gpu: &Rc<Gpu>, step: &wgpu::Buffer) -> Dispatch {
        let pipeline = self.announce(gpu);
        if !self.rare {
            gpu.made(&pipeline);
        }
        let bytes: Vec<u8> = self
            .params
            .iter()
            .flat_map(|(_, value)| match value {
                Value::U(value) => value.to_le_bytes(),
                Value::F(value) => value.to_le_bytes(),
            })
            .collect();
        let params = gpu.uniform(bytes.len() as u64);
        gpu.write(&params, 0, &bytes);
        let memory: Vec<Memory> = self.bindings.into_iter().map(|binding| binding.memory).collect();
        let mut dispatch = Dispatch {
            pipeline,
            params,
            step: step.clone(),
            x: self.groups.min(MOST_GROUPS),
            z: self.groups.div_ceil(MOST_GROUPS),
            tile: self.tile,
            scope: self.scope,
            in_pieces: self.in_pieces,
            when: self.when,
            weights: self.weights,
            memory,
            group: None,
        };
        if !dispatch.of_sequence() {
            dispatch.group = dispatch.bind(gpu, &Default::default());
        }
        dispatch
    }
}

/// A compiled call, to be encoded for any number of rows.
pub struct Dispatch {
    pipeline: Rc<Pipeline>,
    params: wgpu::Buffer,
    step: wgpu::Buffer,
    x: u32,
    z: u32,
    tile: u32,
    pub scope: Scope,
    pub in_pieces: bool,
    pub when: When,
    pub weights: u64,
    memory: Vec<Memory>,
    group: Option<wgpu::BindGroup>,
}

impl Dispatch {
    /// Whether it is bound anew for each sequence's memory.
    pub fn of_sequence(&self) -> bool {
        self.memory.iter().any(|memory| matches!(memory, Memory::Layer(_) | Memory::State(_)))
    }

    /// Binds it, to these layers and states, if what it needs is among them.
    pub fn bind(
        &self,
        gpu: &Gpu,
        [layers, states]: &[Vec<Option<wgpu::Buffer>>; 2],
    ) -> Option<wgpu::BindGroup> {
        let storage = self.memory.iter().map(|memory| match memory {
            Memory::Buffer(buffer) => Some(buffer.as_entire_binding()),
            Memory::Constants(values) => Some(values.buffer(gpu).as_entire_binding()),
            Memory::Layer(layer) => layers[*layer].as_ref().map(wgpu::Buffer::as_entire_binding),
            Memory::State(state) => states[*state].as_ref().map(wgpu::Buffer::as_entire_binding),
        });
        let storage: Vec<_> = storage.collect::<Option<_>>()?;
        gpu.count(|counts| counts.bind_groups += 1);
        let step = wgpu::BufferBinding { buffer: &self.step, offset: 0, size: NonZeroU64::new(TOLD_BYTES) };
        let uniforms = [self.params.as_entire_binding(), wgpu::BindingResource::Buffer(step)];
        let entries: Vec<_> = storage
            .into_iter()
            .chain(uniforms)
            .enumerate()
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding: binding as u32, resource })
            .collect();
        Some(gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.pipeline.layout,
            entries: &entries,
        }))
    }

    /// Encodes it for `rows` rows, which entry `entry` of the step's parameters describes; `group` is what it is bound
    /// to in place of its own bindings.
    pub fn encode(
        &self,
        gpu: &Gpu,
        pass: &mut wgpu::ComputePass,
        group: Option<&wgpu::BindGroup>,
        entry: usize,
        rows: usize,
    ) {
        gpu.count(|counts| {
            counts.dispatches += 1;
            counts.weights += self.weights;
        });
        pass.set_pipeline(gpu.made(&self.pipeline));
        pass.set_bind_group(0, group.or(self.group.as_ref()), &[entry as u32 * ALIGNMENT as u32]);
        pass.dispatch_workgroups(self.x, (rows as u32).div_ceil(self.tile), self.z);
    }
}
