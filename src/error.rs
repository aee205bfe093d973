//! The one error type of the engine. It crosses to the page as data and comes out as a `WispError`.

use std::fmt;

/// The stable error codes of the public API (`WispError.code`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    NotFound,
    Network,
    Aborted,
    Integrity,
    UnsupportedModel,
    InvalidModel,
    UnsupportedDevice,
    OutOfMemory,
    ContextOverflow,
    DeviceLost,
    InvalidArgument,
    ConstraintUnsatisfiable,
    Closed,
    Internal,
}

impl Code {
    /// The name that the page sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::NotFound => "not-found",
            Code::Network => "network",
            Code::Aborted => "aborted",
            Code::Integrity => "integrity",
            Code::UnsupportedModel => "unsupported-model",
            Code::InvalidModel => "invalid-model",
            Code::UnsupportedDevice => "unsupported-device",
            Code::OutOfMemory => "out-of-memory",
            Code::ContextOverflow => "context-overflow",
            Code::DeviceLost => "device-lost",
            Code::InvalidArgument => "invalid-argument",
            Code::ConstraintUnsatisfiable => "constraint-unsatisfiable",
            Code::Closed => "closed",
            Code::Internal => "internal",
        }
    }
}

/// What was wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct Error {
    pub code: Code,
    pub message: String,
    /// Byte offset in the model file, where one is to blame.
    pub offset: Option<u64>,
    /// Tensor name, where one is to blame.
    pub tensor: Option<String>,
    /// Metadata key, where one is to blame.
    pub key: Option<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into(), offset: None, tensor: None, key: None }
    }

    pub fn invalid_model(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidModel, message)
    }

    pub fn unsupported_model(message: impl Into<String>) -> Self {
        Self::new(Code::UnsupportedModel, message)
    }

    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub fn out_of_memory(message: impl Into<String>) -> Self {
        Self::new(Code::OutOfMemory, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    pub fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    pub fn tensor(mut self, name: impl Into<String>) -> Self {
        self.tensor = Some(name.into());
        self
    }

    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(tensor) = &self.tensor {
            write!(f, " (tensor {tensor})")?;
        }
        if let Some(key) = &self.key {
            write!(f, " (key {key})")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " (byte {offset})")?;
        }
        Ok(())
    }
}
