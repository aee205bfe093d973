//! One value of metadata, read as its bytes arrive.

use super::array::{Array, StringArray, reserve};
use super::input::{Field, Input, Text};
use super::metadata::Value;
use crate::error::{Error, Result};

/// Arrays of arrays of arrays are where the depth ends: deeper ones serve only to exhaust a reader.
const MAX_DEPTH: usize = 3;

/// Inner arrays per value. An empty one takes 12 bytes in the file and five times that in memory.
const MAX_INNER_ARRAYS: u64 = 1 << 16;

/// The kinds of value, by their numbers in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl Kind {
    const ALL: [Kind; 13] = [
        Kind::U8,
        Kind::I8,
        Kind::U16,
        Kind::I16,
        Kind::U32,
        Kind::I32,
        Kind::F32,
        Kind::Bool,
        Kind::String,
        Kind::Array,
        Kind::U64,
        Kind::I64,
        Kind::F64,
    ];

    fn from_id(id: u64, at: u64) -> Result<Kind> {
        let kind = Kind::ALL.into_iter().find(|&kind| kind as u64 == id);
        kind.ok_or_else(|| Error::invalid_model(format!("there is no kind of value numbered {id}")).at(at))
    }

    /// Bytes of one such value; of strings and arrays the bytes of an empty one.
    fn bytes(self) -> u8 {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::String => 8,
            Kind::Array => 12,
        }
    }

    fn empty_array(self) -> Array {
        match self {
            Kind::U8 => Array::U8(Vec::new()),
            Kind::I8 => Array::I8(Vec::new()),
            Kind::U16 => Array::U16(Vec::new()),
            Kind::I16 => Array::I16(Vec::new()),
            Kind::U32 => Array::U32(Vec::new()),
            Kind::I32 => Array::I32(Vec::new()),
            Kind::F32 => Array::F32(Vec::new()),
            Kind::Bool => Array::Bool(Vec::new()),
            Kind::String => Array::Strings(StringArray::default()),
            Kind::Array => Array::Nested(Vec::new()),
            Kind::U64 => Array::U64(Vec::new()),
            Kind::I64 => Array::I64(Vec::new()),
            Kind::F64 => Array::F64(Vec::new()),
        }
    }
}

enum Step {
    Scalar(Kind),
    StringLength,
    StringBytes,
    ElementKind,
    ElementCount(Kind),
    Numbers(Kind),
    ElementLength,
    ElementBytes,
}

/// An array that holds arrays, while those are read.
struct Frame {
    arrays: Vec<Array>,
    remaining: u64,
}

/// Reads one value after another; `begin` names the kind of the next.
pub(super) struct ValueParser {
    step: Step,
    field: Field,
    text: Text,
    /// The innermost array, of numbers or strings, and how many elements it still lacks.
    array: Array,
    remaining: u64,
    /// The arrays around it.
    frames: Vec<Frame>,
    inner_arrays: u64,
}

impl ValueParser {
    pub fn new() -> Self {
        ValueParser {
            step: Step::StringLength,
            field: Field::default(),
            text: Text::default(),
            array: Array::U8(Vec::new()),
            remaining: 0,
            frames: Vec::new(),
            inner_arrays: 0,
        }
    }

    /// Starts a value of the kind with number `id`, which stood at byte `at`.
    pub fn begin(&mut self, id: u64, at: u64) -> Result<()> {
        self.inner_arrays = 0;
        self.step = match Kind::from_id(id, at)? {
            Kind::String => Step::StringLength,
            Kind::Array => Step::ElementKind,
            kind => Step::Scalar(kind),
        };
        Ok(())
    }

    /// The value, once all its bytes are there.
    pub fn read(&mut self, input: &mut Input) -> Result<Option<Value>> {
        loop {
            match self.step {
                Step::Scalar(kind) => {
                    let Some((bits, at)) = self.field(kind.bytes(), input) else { return Ok(None) };
                    return scalar(kind, bits, at).map(Some);
                }
                Step::StringLength => {
                    let Some((length, at)) = self.field(8, input) else { return Ok(None) };
                    input.check_promise(length, 1, "a string length", at)?;
                    self.text.begin(length);
                    self.step = Step::StringBytes;
                }
                Step::StringBytes => {
                    let Some(bytes) = self.text.read(input)? else { return Ok(None) };
                    return Ok(Some(Value::String(String::from_utf8_lossy(bytes).into_owned())));
                }
                Step::ElementKind => {
                    let Some((id, at)) = self.field(4, input) else { return Ok(None) };
                    self.step = Step::ElementCount(Kind::from_id(id, at)?);
                }
                Step::ElementCount(kind) => {
                    let Some((count, at)) = self.field(8, input) else { return Ok(None) };
                    input.check_promise(count, kind.bytes().into(), "an array length", at)?;
                    if let Some(array) = self.begin_array(kind, count, at)? {
                        return Ok(Some(Value::Array(array)));
                    }
                }
                Step::Numbers(kind) => {
                    self.numbers(kind, input)?;
                    if self.remaining > 0 {
                        return Ok(None);
                    }
                    if let Some(array) = self.end_array()? {
                        return Ok(Some(Value::Array(array)));
                    }
                }
                Step::ElementLength => {
                    let Some((length, at)) = self.field(8, input) else { return Ok(None) };
                    input.check_promise(length, 1, "a string length", at)?;
                    self.text.begin(length);
                    self.step = Step::ElementBytes;
                }
                Step::ElementBytes => {
                    let Some(bytes) = self.text.read(input)? else { return Ok(None) };
                    let Array::Strings(strings) = &mut self.array else {
                        return Err(Error::internal("an array of strings was expected"));
                    };
                    strings.push_lossy(bytes)?;
                    self.remaining -= 1;
                    self.step = Step::ElementLength;
                    if self.remaining == 0
                        && let Some(array) = self.end_array()?
                    {
                        return Ok(Some(Value::Array(array)));
                    }
                }
            }
        }
    }

    /// A field and its offset.
    fn field(&mut self, bytes: u8, input: &mut Input) -> Option<(u64, u64)> {
        let bits = self.field.read(bytes.into(), input)?;
        Some((bits, input.position.saturating_sub(bytes.into())))
    }

    /// Starts an array; answers the value's outermost array if that was empty and so is complete.
    fn begin_array(&mut self, kind: Kind, count: u64, at: u64) -> Result<Option<Array>> {
        if kind == Kind::Array {
            if self.frames.len() + 1 >= MAX_DEPTH {
                return Err(
                    Error::invalid_model(format!("arrays are nested more than {MAX_DEPTH} deep")).at(at)
                );
            }
            self.inner_arrays = self.inner_arrays.saturating_add(count);
            if self.inner_arrays > MAX_INNER_ARRAYS {
                return Err(Error::invalid_model(format!(
                    "a value holds more than {MAX_INNER_ARRAYS} nested arrays"
                ))
                .at(at));
            }
            self.frames.push(Frame { arrays: Vec::new(), remaining: count });
            self.step = Step::ElementKind;
            return if count == 0 { self.close_frames() } else { Ok(None) };
        }
        self.array = kind.empty_array();
        self.remaining = count;
        self.step = if kind == Kind::String { Step::ElementLength } else { Step::Numbers(kind) };
        if count == 0 { self.end_array() } else { Ok(None) }
    }

    /// Puts the innermost array into the one around it; answers the outermost array when that is complete.
    fn end_array(&mut self) -> Result<Option<Array>> {
        let mut array = std::mem::replace(&mut self.array, Array::U8(Vec::new()));
        array.shrink();
        let Some(frame) = self.frames.last_mut() else { return Ok(Some(array)) };
        reserve(frame.arrays.try_reserve(1))?;
        frame.arrays.push(array);
        frame.remaining -= 1;
        self.step = Step::ElementKind;
        self.close_frames()
    }

    /// Ends the arrays of arrays that are complete.
    fn close_frames(&mut self) -> Result<Option<Array>> {
        while let Some(frame) = self.frames.pop_if(|frame| frame.remaining == 0) {
            let mut array = Array::Nested(frame.arrays);
            array.shrink();
            let Some(outer) = self.frames.last_mut() else { return Ok(Some(array)) };
            reserve(outer.arrays.try_reserve(1))?;
            outer.arrays.push(array);
            outer.remaining -= 1;
        }
        Ok(None)
    }

    /// Appends the numbers that have arrived to the array.
    fn numbers(&mut self, kind: Kind, input: &mut Input) -> Result<()> {
        let size = u64::from(kind.bytes());
        if self.field.is_pending() {
            self.straddling_number(kind, input)?;
        }
        let whole = (input.rest.len() as u64 / size).min(self.remaining);
        let at = input.position;
        let bytes = input.take(whole * size);
        if kind == Kind::Bool
            && let Some(index) = bytes.iter().position(|&byte| byte > 1)
        {
            return Err(not_a_boolean(at.saturating_add(index as u64)));
        }
        self.array.extend_from_le(bytes)?;
        self.remaining -= whole;
        if self.remaining > 0 && !input.rest.is_empty() {
            self.straddling_number(kind, input)?;
        }
        Ok(())
    }

    /// A number, not a boolean, of which one chunk has the first bytes and the next the others.
    fn straddling_number(&mut self, kind: Kind, input: &mut Input) -> Result<()> {
        if let Some(bits) = self.field.read(kind.bytes().into(), input) {
            let bytes = bits.to_le_bytes();
            self.array.extend_from_le(bytes.get(..kind.bytes().into()).unwrap_or_default())?;
            self.remaining -= 1;
        }
        Ok(())
    }
}

fn not_a_boolean(at: u64) -> Error {
    Error::invalid_model("a boolean is neither 0 nor 1").at(at)
}

/// A value from its bits; the truncating casts pick the field's own bytes.
fn scalar(kind: Kind, bits: u64, at: u64) -> Result<Value> {
    Ok(match kind {
        Kind::U8 => Value::U8(bits as u8),
        Kind::I8 => Value::I8(bits as i8),
        Kind::U16 => Value::U16(bits as u16),
        Kind::I16 => Value::I16(bits as i16),
        Kind::U32 => Value::U32(bits as u32),
        Kind::I32 => Value::I32(bits as i32),
        Kind::F32 => Value::F32(f32::from_bits(bits as u32)),
        Kind::Bool if bits > 1 => return Err(not_a_boolean(at)),
        Kind::Bool => Value::Bool(bits == 1),
        Kind::U64 => Value::U64(bits),
        Kind::I64 => Value::I64(bits as i64),
        Kind::F64 => Value::F64(f64::from_bits(bits)),
        Kind::String | Kind::Array => return Err(Error::internal("a number was expected")),
    })
}
