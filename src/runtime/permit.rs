//! What the next token of an answer may be, where that is to have a form.

use crate::error::{Code, Error, Result};
use crate::executor::lowest;

pub enum Permit {
    /// Any token.
    Any,
    /// Word is awaited.
    Awaited,
    /// The tokens whose bit is set: bit `t % 32` of word `t / 32`.
    Only(Vec<u32>),
}

impl Permit {
    /// Those of a vocabulary that are `allowed`. Refused if that is none: `constraint-unsatisfiable`.
    pub fn of(allowed: &[u32], vocabulary: usize) -> Result<Self> {
        match lowest(allowed) {
            Some(token) if (token as usize) < vocabulary => Ok(Permit::Only(allowed.to_vec())),
            _ => Err(Error::new(
                Code::ConstraintUnsatisfiable,
                "format: none of the model's tokens can come next",
            )),
        }
    }

    pub fn is_any(&self) -> bool {
        matches!(self, Permit::Any)
    }

    pub fn is_awaited(&self) -> bool {
        matches!(self, Permit::Awaited)
    }

    /// The tokens that are allowed, if not all are.
    pub fn mask(&self) -> Option<&[u32]> {
        match self {
            Permit::Only(allowed) => Some(allowed),
            Permit::Any | Permit::Awaited => None,
        }
    }

    /// Has the token after one that is chosen wait for word again.
    pub fn used(&mut self) {
        if !self.is_any() {
            *self = Permit::Awaited;
        }
    }
}
