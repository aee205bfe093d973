//! Writes GGUF files for tests, sound ones and unsound ones.

use wisplm::gguf::{Array, TensorType, Value};

/// A file in the making. Keys and tensors come in the order of the calls.
pub struct GgufWriter {
    version: u32,
    alignment: u64,
    claimed_keys: Option<u64>,
    claimed_tensors: Option<u64>,
    keys: u64,
    metadata: Vec<u8>,
    tensors: u64,
    index: Vec<u8>,
    data: Vec<u8>,
}

impl Default for GgufWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl GgufWriter {
    pub fn new() -> Self {
        GgufWriter {
            version: 3,
            alignment: 32,
            claimed_keys: None,
            claimed_tensors: None,
            keys: 0,
            metadata: Vec::new(),
            tensors: 0,
            index: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Another version than 3.
    pub fn version(&mut self, version: u32) -> &mut Self {
        self.version = version;
        self
    }

    /// Aligns tensors to so many bytes, and says so in the metadata.
    pub fn align(&mut self, alignment: u32) -> &mut Self {
        self.alignment = alignment.into();
        self.key("general.alignment", Value::U32(alignment))
    }

    /// A count of keys other than the true one.
    pub fn claim_keys(&mut self, count: u64) -> &mut Self {
        self.claimed_keys = Some(count);
        self
    }

    /// A count of tensors other than the true one.
    pub fn claim_tensors(&mut self, count: u64) -> &mut Self {
        self.claimed_tensors = Some(count);
        self
    }

    pub fn key(&mut self, key: &str, value: Value) -> &mut Self {
        let mut bytes = Vec::new();
        let kind = write_value(&mut bytes, &value);
        self.raw_key(key.as_bytes(), kind, &bytes)
    }

    /// A key with a value of any number and bytes.
    pub fn raw_key(&mut self, key: &[u8], kind: u32, value: &[u8]) -> &mut Self {
        write_string(&mut self.metadata, key);
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend(value);
        self.keys += 1;
        self
    }

    /// A tensor with its bytes, placed after those before it.
    pub fn tensor(&mut self, name: &str, dims: &[u64], kind: TensorType, bytes: &[u8]) -> &mut Self {
        let elements: u64 = dims.iter().product();
        assert_eq!(kind.bytes_of(elements), Some(bytes.len() as u64), "bytes of {name}");
        self.pad_data();
        self.entry(name.as_bytes(), dims, kind.id(), self.data.len() as u64);
        self.data.extend(bytes);
        self
    }

    /// An entry of the tensor index alone.
    pub fn entry(&mut self, name: &[u8], dims: &[u64], type_id: u32, offset: u64) -> &mut Self {
        write_string(&mut self.index, name);
        self.index.extend((dims.len() as u32).to_le_bytes());
        for dim in dims {
            self.index.extend(dim.to_le_bytes());
        }
        self.index.extend(type_id.to_le_bytes());
        self.index.extend(offset.to_le_bytes());
        self.tensors += 1;
        self
    }

    /// Bytes that belong to no tensor, or to those of `entry`.
    pub fn data(&mut self, bytes: &[u8]) -> &mut Self {
        self.data.extend(bytes);
        self
    }

    fn pad_data(&mut self) {
        let length = self.data.len() as u64;
        self.data.resize(length.next_multiple_of(self.alignment) as usize, 0);
    }

    /// The header without the padding that follows it.
    pub fn header(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend(self.claimed_tensors.unwrap_or(self.tensors).to_le_bytes());
        file.extend(self.claimed_keys.unwrap_or(self.keys).to_le_bytes());
        file.extend(&self.metadata);
        file.extend(&self.index);
        file
    }

    /// The whole file, not padded at its end.
    pub fn file(&self) -> Vec<u8> {
        let mut file = self.header();
        file.resize((file.len() as u64).next_multiple_of(self.alignment) as usize, 0);
        file.extend(&self.data);
        file
    }
}

pub fn write_string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend((string.len() as u64).to_le_bytes());
    out.extend(string);
}

/// Writes a value and answers the number of its kind.
fn write_value(out: &mut Vec<u8>, value: &Value) -> u32 {
    match value {
        Value::U8(v) => (out.extend(v.to_le_bytes()), 0).1,
        Value::I8(v) => (out.extend(v.to_le_bytes()), 1).1,
        Value::U16(v) => (out.extend(v.to_le_bytes()), 2).1,
        Value::I16(v) => (out.extend(v.to_le_bytes()), 3).1,
        Value::U32(v) => (out.extend(v.to_le_bytes()), 4).1,
        Value::I32(v) => (out.extend(v.to_le_bytes()), 5).1,
        Value::F32(v) => (out.extend(v.to_le_bytes()), 6).1,
        Value::Bool(v) => (out.push(*v as u8), 7).1,
        Value::String(v) => (write_string(out, v.as_bytes()), 8).1,
        Value::Array(v) => (write_array(out, v), 9).1,
        Value::U64(v) => (out.extend(v.to_le_bytes()), 10).1,
        Value::I64(v) => (out.extend(v.to_le_bytes()), 11).1,
        Value::F64(v) => (out.extend(v.to_le_bytes()), 12).1,
    }
}

fn write_array(out: &mut Vec<u8>, array: &Array) {
    let mut elements = Vec::new();
    let kind: u32 = match array {
        Array::U8(v) => (elements.extend(v), 0).1,
        Array::I8(v) => (v.iter().for_each(|v| elements.extend(v.to_le_bytes())), 1).1,
        Array::U16(v) => (v.iter().for_each(|v| elements.extend(v.to_le_bytes())), 2).1,
        Array::I16(v) => (v.iter().for_each(|v| elements.extend(v.to_le_bytes())), 3).1,
        Array::U32(v) => (v.iter().for_each(|v| elements.extend(v.to_le_bytes())), 4).1,
        Array::I32(v) => (v.iter().for_each(|v| elements.extend(v.to_le_bytes())), 5).1,
        Array::F32(v) => (v.iter().for_each(|v| elements.extend(v.to_le_bytes())), 6).1,
        Array::Bool(v) => (v.iter().for_each(|&v| elements.push(v as u8)), 7).1,
        Array::Strings(v) => (v.iter().for_each(|v| write_string(&mut elements, v.as_bytes())), 8).1,
        Array::Nested(v) => (v.iter().for_each(|v| write_array(&mut elements, v)), 9).1,
        Array::U64(v) => (v.iter().for_each(|v| elements.extend(v.to_le_bytes())), 10).1,
        Array::I64(v) => (v.iter().for_each(|v| elements.extend(v.to_le_bytes())), 11).1,
        Array::F64(v) => (v.iter().for_each(|v| elements.extend(v.to_le_bytes())), 12).1,
    };
    out.extend(kind.to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    out.extend(elements);
}
