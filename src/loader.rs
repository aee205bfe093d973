//! From a file's bytes to a model that is ready to run.

use crate::chat::Templates;
use crate::cpu::{Activations, KvType};
use crate::error::{Error, Result};
use crate::executor::{Executor, Loading};
use crate::gguf::{FileReader, Header, Metadata, Parts, Sink, TensorInfo};
use crate::gpu::Gpu;
use crate::model::{self, Adapters};
use crate::plan::{Head, Plan};
use crate::task::{Pooling, head};
use crate::tokenizer::Tokenizer;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::rc::Rc;

/// Bytes of each tensor that tell one model from another.
const IDENTIFYING: u64 = 256;

/// A loaded model.
pub struct Model {
    pub executor: Executor,
    pub tokenizer: Tokenizer,
    pub templates: Templates,
    pub info: Info,
    /// A hash by which what was made with this model is known: of its tensors' names, shapes and first bytes.
    pub identity: String,
    adapters: Adapters,
    /// Why it does not run on the GPU that it was meant for, where it may run on the CPU instead.
    pub refusal: Option<String>,
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    pub architecture: String,
    pub name: String,
    /// Weights, all tensors counted.
    pub parameters: u64,
    /// The block format that most of the weights have.
    pub quantization: &'static str,
    pub trained_context_length: u32,
    /// How an encoder's states become one vector; `None` for a model that does not embed.
    pub pooling: Option<Pooling>,
    /// What an encoder's head scores; `None` for a model that has none.
    pub labels: Option<Vec<String>>,
}

impl Model {
    /// The names of the model's adapters, and the scales in use.
    pub fn adapters(&self) -> impl Iterator<Item = (&str, f32)> {
        self.adapters.iter()
    }

    /// Uses its adapters with these scales, one for each; 0 is without. Drops the step in progress; what sequences have
    /// stored stays as it is.
    pub fn set_adapters(&mut self, scales: &[f32]) -> Result<()> {
        self.adapters.set(scales)?;
        self.executor.set_plan(self.adapters.plan())
    }
}

/// Takes the files of a model, in order, in chunks of any size.
pub struct Loader {
    reader: FileReader,
    file: usize,
    intake: Intake,
}

/// What has been taken from the files so far.
struct Intake {
    context_length: Option<usize>,
    kv_type: KvType,
    activations: Activations,
    parts: Parts,
    files: usize,
    /// Of the adapters, whose files come after the model's.
    scales: Vec<f32>,
    headers: usize,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    loading: Loading,
    identity: Sha256,
    /// What is refused on a GPU goes to the CPU.
    or_cpu: bool,
    refusal: Option<String>,
    ready: Option<Ready>,
}

/// What the headers decide before any weight has come.
struct Ready {
    adapters: Adapters,
    tokenizer: Tokenizer,
    templates: Templates,
    info: Info,
    wanted: HashSet<String>,
}

impl Loader {
    /// A loader of a model in `files` files, the first of `file_bytes` bytes if that is known, for sequences of up
    /// to `context_length` tokens.
    pub fn new(files: usize, file_bytes: Option<u64>, context_length: Option<usize>) -> Self {
        let intake = Intake {
            context_length,
            kv_type: KvType::default(),
            activations: Activations::default(),
            parts: Parts::new(files),
            files,
            scales: Vec::new(),
            headers: 0,
            metadata: Metadata::new(),
            tensors: Vec::new(),
            loading: Loading::cpu(),
            identity: Sha256::new(),
            or_cpu: false,
            refusal: None,
            ready: None,
        };
        let reader = FileReader::with_file_bytes(file_bytes);
        Loader { reader, file: 0, intake }
    }

    /// Has the model store keys and values as `kv_type`.
    pub fn with_kv_type(mut self, kv_type: KvType) -> Self {
        self.intake.kv_type = kv_type;
        self
    }

    /// Has the model multiply activations as exactly as this says.
    pub fn with_activations(mut self, activations: Activations) -> Self {
        self.intake.activations = activations;
        self
    }

    /// Has an adapter's file follow those of the model for each of these scales, which it is used with.
    pub fn with_adapters(mut self, scales: &[f32]) -> Self {
        self.intake.scales = scales.to_vec();
        self
    }

    /// Has the model run on a GPU. Nothing may have been taken yet.
    pub fn on(mut self, gpu: &Rc<Gpu>) -> Self {
        self.intake.loading = Loading::gpu(gpu);
        self
    }

    /// Has the model run on the CPU if its header says that the GPU cannot run it.
    pub fn or_on_cpu(mut self) -> Self {
        self.intake.or_cpu = true;
        self
    }

    /// Takes the next bytes of the current file.
    pub fn push(&mut self, chunk: &[u8]) -> Result<()> {
        self.reader.push(chunk, &mut self.intake)
    }

    /// Bytes of the current file, once its header is known.
    pub fn expected_bytes(&self) -> Option<u64> {
        self.reader.header().map(|header| header.file_bytes)
    }

    /// Ends the current file and begins the next, of `file_bytes` bytes if that is known.
    pub fn next_file(&mut self, file_bytes: Option<u64>) -> Result<()> {
        self.reader.finish()?;
        self.file += 1;
        if self.file >= self.intake.files + self.intake.scales.len() {
            return Err(Error::invalid_argument(format!(
                "a file more than the {} announced",
                self.intake.files + self.intake.scales.len()
            )));
        }
        self.reader = FileReader::with_file_bytes(file_bytes);
        Ok(())
    }

    /// Finds the fastest shapes of a GPU's kernels, once all bytes are there. Answers what [`crate::gpu::Tuning::parse`]
    /// understands if they were not known. `now` tells milliseconds.
    pub async fn tune(&self, now: fn() -> f64) -> Result<Option<String>> {
        self.intake.loading.tune(now).await
    }

    /// Ends the last file: the model.
    pub fn finish(self) -> Result<Model> {
        self.reader.finish()?;
        let intake = self.intake;
        intake.parts.finish()?;
        let Some(Ready { mut adapters, tokenizer, templates, info, .. }) = intake.ready else {
            return Err(Error::internal("the model's headers were never complete"));
        };
        // The plan has the weights of all adapters, whichever are in use.
        let mut executor = intake.loading.finish(adapters.plan(), intake.kv_type, intake.activations)?;
        if !intake.scales.is_empty() {
            adapters.set(&intake.scales)?;
            executor.set_plan(adapters.plan())?;
        }
        let identity = intake.identity.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Model { executor, tokenizer, templates, info, identity, adapters, refusal: intake.refusal })
    }
}

impl Sink for Intake {
    fn header(&mut self, header: &Header) -> Result<()> {
        if let Some(ready) = &mut self.ready {
            let Header { metadata, tensors, .. } = header;
            ready.adapters.push(&ready.info.architecture, &self.tensors, metadata, tensors)?;
            return tensors.iter().try_for_each(|tensor| self.loading.reserve(&ready.adapters.named(tensor)));
        }
        self.parts.push(header)?;
        if self.headers == 0 {
            self.metadata = header.metadata.clone();
        }
        self.headers += 1;
        self.tensors.extend_from_slice(&header.tensors);
        if self.headers == self.files {
            let plan = model::plan(&self.metadata, &self.tensors, self.context_length)?;
            let tokenizer = Tokenizer::from_metadata(&self.metadata)?;
            let templates = Templates::from_metadata(&self.metadata);
            let info = Info::read(&self.metadata, &self.tensors, &plan)?;
            let wanted: HashSet<_> = plan.weights.iter().map(|weight| weight.name.clone()).collect();
            let read: Vec<_> = self.tensors.iter().filter(|tensor| wanted.contains(&tensor.name)).collect();
            match self.loading.prepare(&plan, &read, self.kv_type, self.activations) {
                // Of a split model the GPU has some weights already.
                Err(refusal) if self.or_cpu && self.files == 1 => {
                    self.loading = Loading::cpu();
                    self.loading.prepare(&plan, &read, self.kv_type, self.activations)?;
                    self.refusal = Some(refusal.to_string());
                }
                prepared => prepared?,
            }
            let adapters = Adapters::new(plan);
            self.ready = Some(Ready { adapters, tokenizer, templates, info, wanted });
            // The tokenizer has what it needs of a quarter of a million tokens.
            self.metadata = Metadata::new();
        }
        Ok(())
    }

    fn tensor_bytes(&mut self, header: &Header, index: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let Some(tensor) = header.tensors.get(index) else {
            return Err(Error::internal("bytes of a tensor that the header does not have"));
        };
        // Models of one shape differ in all of their weights: some of each tensor are as good as all.
        if offset == 0 {
            self.identity.update(format!("{} {:?} {}\n", tensor.name, tensor.dims, tensor.kind.name()));
        }
        let rest = IDENTIFYING.saturating_sub(offset).min(bytes.len() as u64);
        self.identity.update(&bytes[..rest as usize]);
        // Until the last header has come, every tensor may be wanted.
        match &self.ready {
            Some(Ready { adapters, .. }) if !adapters.is_empty() => {
                self.loading.push(&adapters.named(tensor), offset, bytes)
            }
            Some(ready) if !ready.wanted.contains(&tensor.name) => Ok(()),
            _ => self.loading.push(tensor, offset, bytes),
        }
    }
}

impl Info {
    fn read(metadata: &Metadata, tensors: &[TensorInfo], plan: &Plan) -> Result<Self> {
        let architecture = metadata.require_str("general.architecture")?.to_owned();
        let trained = metadata.require_u32(&format!("{architecture}.context_length"))?;
        let mut weights: Vec<(&'static str, u64)> = Vec::new();
        for tensor in tensors {
            let name = tensor.kind.name();
            match weights.iter_mut().find(|(kind, _)| *kind == name) {
                Some((_, count)) => *count += tensor.elements(),
                None => weights.push((name, tensor.elements())),
            }
        }
        let quantization = weights.iter().max_by_key(|(_, count)| *count).map_or("none", |(kind, _)| *kind);
        Ok(Info {
            name: metadata.str("general.name").unwrap_or(&architecture).to_owned(),
            parameters: tensors.iter().map(TensorInfo::elements).sum(),
            quantization,
            trained_context_length: trained,
            pooling: match plan.head {
                Head::Hidden { .. } => Some(Pooling::of(metadata)?),
                Head::Logits { .. } | Head::Labels { .. } => None,
            },
            labels: match plan.head {
                Head::Labels { x } => Some(head::labels(metadata, plan.slot(x))?),
                Head::Logits { .. } | Head::Hidden { .. } => None,
            },
            architecture,
        })
    }
}
