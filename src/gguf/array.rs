//! Arrays of metadata: numbers in a `Vec` of their own type, strings in one arena.

use crate::error::{Error, Result};

/// An array of metadata. Nested arrays are in the format's definition, though no model is known to use them.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    Strings(StringArray),
    Nested(Vec<Array>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Array {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(v) => v.len(),
            Array::I8(v) => v.len(),
            Array::U16(v) => v.len(),
            Array::I16(v) => v.len(),
            Array::U32(v) => v.len(),
            Array::I32(v) => v.len(),
            Array::F32(v) => v.len(),
            Array::Bool(v) => v.len(),
            Array::Strings(v) => v.len(),
            Array::Nested(v) => v.len(),
            Array::U64(v) => v.len(),
            Array::I64(v) => v.len(),
            Array::F64(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends numbers or booleans from their little-endian bytes, a whole number of them. Booleans must be
    /// 0 or 1 (checked by the caller, who knows the byte's offset); strings and nested arrays come otherwise.
    pub(super) fn extend_from_le(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Array::U8(v) => extend(v, bytes, u8::from_le_bytes),
            Array::I8(v) => extend(v, bytes, i8::from_le_bytes),
            Array::U16(v) => extend(v, bytes, u16::from_le_bytes),
            Array::I16(v) => extend(v, bytes, i16::from_le_bytes),
            Array::U32(v) => extend(v, bytes, u32::from_le_bytes),
            Array::I32(v) => extend(v, bytes, i32::from_le_bytes),
            Array::F32(v) => extend(v, bytes, f32::from_le_bytes),
            Array::Bool(v) => extend(v, bytes, |[byte]| byte != 0),
            Array::U64(v) => extend(v, bytes, u64::from_le_bytes),
            Array::I64(v) => extend(v, bytes, i64::from_le_bytes),
            Array::F64(v) => extend(v, bytes, f64::from_le_bytes),
            Array::Strings(_) | Array::Nested(_) => Err(Error::internal("an array of numbers was expected")),
        }
    }

    /// Gives back what doubling reserved beyond the last element.
    pub(super) fn shrink(&mut self) {
        match self {
            Array::U8(v) => v.shrink_to_fit(),
            Array::I8(v) => v.shrink_to_fit(),
            Array::U16(v) => v.shrink_to_fit(),
            Array::I16(v) => v.shrink_to_fit(),
            Array::U32(v) => v.shrink_to_fit(),
            Array::I32(v) => v.shrink_to_fit(),
            Array::F32(v) => v.shrink_to_fit(),
            Array::Bool(v) => v.shrink_to_fit(),
            Array::Strings(v) => {
                v.text.shrink_to_fit();
                v.ends.shrink_to_fit();
            }
            Array::Nested(v) => v.shrink_to_fit(),
            Array::U64(v) => v.shrink_to_fit(),
            Array::I64(v) => v.shrink_to_fit(),
            Array::F64(v) => v.shrink_to_fit(),
        }
    }
}

fn extend<T, const N: usize>(vec: &mut Vec<T>, bytes: &[u8], decode: fn([u8; N]) -> T) -> Result<()> {
    let (elements, _) = bytes.as_chunks::<N>();
    reserve(vec.try_reserve(elements.len()))?;
    vec.extend(elements.iter().map(|element| decode(*element)));
    Ok(())
}

/// A failed reservation as the error that the page sees.
pub(super) fn reserve(outcome: Result<(), std::collections::TryReserveError>) -> Result<()> {
    outcome.map_err(|_| Error::out_of_memory("no memory left for the metadata of the model"))
}

/// Many strings in one allocation: a vocabulary has a quarter of a million, most of a few bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringArray {
    text: String,
    /// Where each string ends in `text`, in bytes; it starts where the one before ends.
    ends: Vec<usize>,
}

impl StringArray {
    /// Number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The string at `index`. What was not UTF-8 in the file reads U+FFFD.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// The strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let string = self.text.get(start..end).unwrap_or_default();
            start = end;
            string
        })
    }

    /// Appends a string; bytes that are not UTF-8 are replaced.
    pub(super) fn push_lossy(&mut self, bytes: &[u8]) -> Result<()> {
        let string = String::from_utf8_lossy(bytes);
        reserve(self.text.try_reserve(string.len()))?;
        reserve(self.ends.try_reserve(1))?;
        self.text.push_str(&string);
        self.ends.push(self.text.len());
        Ok(())
    }
}

impl<S: AsRef<str>> FromIterator<S> for StringArray {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut array = StringArray::default();
        for string in strings {
            array.text.push_str(string.as_ref());
            array.ends.push(array.text.len());
        }
        array
    }
}

#[cfg(test)]
mod tests {
    use super::{Array, StringArray};

    #[test]
    fn strings_come_back_in_order() {
        let mut array = StringArray::default();
        for bytes in [&b"a"[..], b"", "né".as_bytes(), b"\xff!"] {
            array.push_lossy(bytes).unwrap();
        }
        assert_eq!(array.iter().collect::<Vec<_>>(), ["a", "", "né", "\u{fffd}!"]);
        assert_eq!(
            (0..5).map(|i| array.get(i)).collect::<Vec<_>>().as_slice(),
            &[Some("a"), Some(""), Some("né"), Some("\u{fffd}!"), None]
        );
    }

    #[test]
    fn numbers_are_little_endian() {
        let mut array = Array::I16(vec![]);
        array.extend_from_le(&[1, 0, 0xff, 0xff]).unwrap();
        assert_eq!(array, Array::I16(vec![1, -1]));
        let mut array = Array::F32(vec![]);
        array.extend_from_le(&1.5f32.to_le_bytes()).unwrap();
        assert_eq!(array, Array::F32(vec![1.5]));
    }
}
