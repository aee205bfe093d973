//! How fast the device reads memory: the ceiling of everything that reads all weights for each token.

use std::time::Instant;

const SOURCE: &str = "
@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> to: array<u32>;
const RUN = 64u;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var all = vec4<u32>();
  for (var i = 0u; i < RUN; i += 1u) {
    all ^= source[(group.x * RUN + i) * 256u + lane];
  }
  // Read nothing in vain: what nobody uses is not read at all.
  if ((all.x ^ all.y ^ all.z ^ all.w) == 1u) {
    to[0] = 1u;
  }
}
";
/// Bytes that a workgroup reads.
const GROUP: u64 = 64 * 256 * 16;

/// Bytes per second of reads of a buffer of `bytes`, the best of several runs.
pub fn bandwidth(bytes: u64) -> f64 {
    pollster::block_on(measure(bytes)).expect("the device that the models run on streams as well")
}

async fn measure(bytes: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    let adapter = instance.request_adapter(&options).await?;
    let limits = wgpu::Limits {
        max_buffer_size: adapter.limits().max_buffer_size,
        max_storage_buffer_binding_size: adapter.limits().max_storage_buffer_binding_size,
        ..wgpu::Limits::default()
    };
    let bytes = bytes.min(limits.max_storage_buffer_binding_size).min(limits.max_buffer_size) / GROUP * GROUP;
    let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
    let (device, queue) = adapter.request_device(&descriptor).await?;
    let buffer = |size| {
        let usage = wgpu::BufferUsages::STORAGE;
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let (from, to) = (buffer(bytes), buffer(16));
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(SOURCE.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let entries = [(0, &from), (1, &to)]
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    let mut best = 0.0_f64;
    for _ in 0..8 {
        let began = Instant::now();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            for _ in 0..4 {
                pass.dispatch_workgroups((bytes / GROUP) as u32, 1, 1);
            }
        }
        queue.submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely())?;
        best = best.max(4.0 * bytes as f64 / began.elapsed().as_secs_f64());
    }
    Ok(best)
}
