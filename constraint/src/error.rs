//! What can be wrong with a format.

/// The codes of the public API that come from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The format is malformed, too large, or asks for something that is not supported.
    InvalidArgument,
    /// No answer has the form.
    ConstraintUnsatisfiable,
    /// A token was taken that the form does not allow, or following it took more than the limits.
    Internal,
}

impl Code {
    /// The name that the page sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid-argument",
            Code::ConstraintUnsatisfiable => "constraint-unsatisfiable",
            Code::Internal => "internal",
        }
    }
}

/// What was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    pub message: String,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
