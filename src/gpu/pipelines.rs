//! Compute pipelines. Kernels of the same text are one; which there are is known before the weights have come, and they are
//! made when there is time for it.

use super::device::Gpu;
use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// A pipeline, made when it is first used, with the layout of its bindings.
pub struct Pipeline {
    label: &'static str,
    source: Rc<str>,
    pub layout: wgpu::BindGroupLayout,
    made: OnceCell<wgpu::ComputePipeline>,
}

/// Those of a device.
#[derive(Default)]
pub struct Pipelines {
    by_source: RefCell<HashMap<Rc<str>, Rc<Pipeline>>>,
    /// Those that are to be made soon, and those that most requests do without.
    announced: [RefCell<VecDeque<Rc<Pipeline>>>; 2],
}

impl Gpu {
    /// The pipeline of a source whose storage bindings are these (true where it writes), followed by its parameters
    /// and by the step's. It is yet to be made.
    pub(super) fn pipeline(
        &self,
        label: &'static str,
        source: String,
        written: &[bool],
        rare: bool,
    ) -> Rc<Pipeline> {
        let known = self.pipelines.by_source.borrow().get(source.as_str()).cloned();
        let pipeline = known.unwrap_or_else(|| {
            let storage = |writes: &bool| (wgpu::BufferBindingType::Storage { read_only: !writes }, false);
            let uniforms = [false, true].map(|dynamic| (wgpu::BufferBindingType::Uniform, dynamic));
            let entries: Vec<_> =
                written.iter().map(storage).chain(uniforms).enumerate().map(entry).collect();
            let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries };
            let layout = self.device.create_bind_group_layout(&descriptor);
            let source: Rc<str> = source.into();
            let pipeline =
                Rc::new(Pipeline { label, source: Rc::clone(&source), layout, made: OnceCell::new() });
            self.pipelines.by_source.borrow_mut().insert(source, Rc::clone(&pipeline));
            pipeline
        });
        let mut announced = self.pipelines.announced[usize::from(rare)].borrow_mut();
        if pipeline.made.get().is_none() && !announced.iter().any(|other| Rc::ptr_eq(other, &pipeline)) {
            announced.push_back(Rc::clone(&pipeline));
        }
        pipeline
    }

    /// Pipelines that are to be made soon.
    pub(super) fn announced(&self) -> usize {
        let [soon, _] = &self.pipelines.announced;
        soon.borrow_mut().retain(|pipeline| pipeline.made.get().is_none());
        soon.borrow().len()
    }

    /// Makes the next pipeline, one that is rarely needed only if there is no other: whether there was one.
    pub(super) fn make_next(&self) -> bool {
        for announced in &self.pipelines.announced {
            let next = || announced.borrow_mut().pop_front();
            while let Some(pipeline) = next() {
                if pipeline.made.get().is_none() {
                    self.made(&pipeline);
                    return true;
                }
            }
        }
        false
    }

    /// Forgets what was announced: other kernels come in place of those.
    pub(super) fn renounce(&self) {
        self.pipelines.announced.iter().for_each(|announced| announced.borrow_mut().clear());
    }

    /// A pipeline, compiled.
    pub(super) fn made<'a>(&self, pipeline: &'a Pipeline) -> &'a wgpu::ComputePipeline {
        let Pipeline { label, source, layout, made } = pipeline;
        made.get_or_init(|| {
            self.count(|counts| counts.pipelines += 1);
            let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(label),
                bind_group_layouts: &[Some(layout)],
                immediate_size: 0,
            });
            let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(label),
                source: wgpu::ShaderSource::Wgsl((&**source).into()),
            });
            // Kernels read nothing of a workgroup's memory that they have not written: to fill it with zeros takes
            // SwiftShader's compiler seconds. A browser does it all the same, by a loop.
            let compilation_options = wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            };
            self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(label),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options,
                cache: None,
            })
        })
    }
}

fn entry((binding, (ty, dynamic)): (usize, (wgpu::BufferBindingType, bool))) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: dynamic, min_binding_size: None },
        count: None,
    }
}
