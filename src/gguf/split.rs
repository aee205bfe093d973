//! A model in several files (`name-00001-of-00003.gguf`, …): do the files make one model?

use std::collections::HashMap;

use super::Header;
use super::array::reserve;
use crate::error::{Error, Result};

const NUMBER_KEY: &str = "split.no";
const COUNT_KEY: &str = "split.count";
const TENSORS_KEY: &str = "split.tensors.count";

/// Takes the headers of a model's files, in order, as they become known, and checks that they are all of one
/// model's parts, each once. The first part has the model's metadata; the others only say which part they are.
#[derive(Debug)]
pub struct Parts {
    files: usize,
    seen: usize,
    /// Tensors of the whole model, as the first part tells.
    promised_tensors: Option<u64>,
    /// Which file (from 0) has the tensor.
    tensors: HashMap<String, usize>,
}

impl Parts {
    /// Expects `files` headers. One file that is not split passes too.
    pub fn new(files: usize) -> Self {
        Parts { files, seen: 0, promised_tensors: None, tensors: HashMap::new() }
    }

    /// Takes the header of the next file.
    pub fn push(&mut self, header: &Header) -> Result<()> {
        let metadata = &header.metadata;
        let invalid = |key: &str, message: String| Err(Error::invalid_model(message).key(key));
        let file = self.seen + 1;
        let count = match metadata.get(COUNT_KEY) {
            Some(_) => metadata.require_u64(COUNT_KEY)?,
            None => 1,
        };
        // Writers number the parts from 0, as the key does; names of files from 1, as messages do.
        let number = match metadata.get(NUMBER_KEY) {
            Some(_) => metadata.require_u64(NUMBER_KEY)?.saturating_add(1),
            None => 1,
        };
        if count != self.files as u64 {
            let files = self.files;
            return invalid(
                COUNT_KEY,
                match (count, files) {
                    (..=1, _) => format!("file {file} of {files} is not a part of a split model"),
                    (_, 1) => {
                        format!("the file is part {number} of {count}: all the parts are needed, in order")
                    }
                    _ => format!("file {file} belongs to a model of {count} files, but {files} were given"),
                },
            );
        }
        if number != file as u64 {
            return invalid(
                NUMBER_KEY,
                format!("file {file} of {count} is part {number}: the order is wrong"),
            );
        }
        if metadata.get(TENSORS_KEY).is_some() {
            let tensors = metadata.require_u64(TENSORS_KEY)?;
            if *self.promised_tensors.get_or_insert(tensors) != tensors {
                return invalid(TENSORS_KEY, format!("file {file} of {count} is a part of another model"));
            }
        }
        reserve(self.tensors.try_reserve(header.tensors.len()))?;
        for tensor in &header.tensors {
            if let Some(other) = self.tensors.insert(tensor.name.clone(), file) {
                return Err(Error::invalid_model(format!(
                    "file {file} of {count} has a tensor that file {other} has"
                ))
                .tensor(&tensor.name));
            }
        }
        self.seen = file;
        Ok(())
    }

    /// Says that there are no more files; an error if parts or tensors are missing.
    pub fn finish(&self) -> Result<()> {
        if self.seen < self.files {
            let message =
                format!("{} of {} files of the model are missing", self.files - self.seen, self.files);
            return Err(Error::invalid_model(message).key(COUNT_KEY));
        }
        match self.promised_tensors {
            Some(promised) if promised != self.tensors.len() as u64 => Err(Error::invalid_model(format!(
                "the files hold {} tensors of the model's {promised}",
                self.tensors.len()
            ))
            .key(TENSORS_KEY)),
            _ => Ok(()),
        }
    }
}
