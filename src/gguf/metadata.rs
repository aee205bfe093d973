//! Metadata: the keys and values at the head of a model file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use super::array::{Array, StringArray, reserve};
use crate::error::{Error, Result};

/// One value of metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// Any integer, widened so that every kind fits.
    fn integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(v) => v.into(),
            Value::I8(v) => v.into(),
            Value::U16(v) => v.into(),
            Value::I16(v) => v.into(),
            Value::U32(v) => v.into(),
            Value::I32(v) => v.into(),
            Value::U64(v) => v.into(),
            Value::I64(v) => v.into(),
            Value::F32(_) | Value::F64(_) | Value::Bool(_) | Value::String(_) | Value::Array(_) => {
                return None;
            }
        })
    }

    /// An integer of any kind that fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.integer()?.try_into().ok()
    }

    /// What the value is, for messages.
    fn describe(&self) -> &'static str {
        match self {
            Value::F32(_) | Value::F64(_) => "a floating-point number",
            Value::Bool(_) => "a boolean",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            _ => "an integer",
        }
    }
}

/// The metadata of a file: keys in the file's order, each once.
///
/// A getter answers `None` both when the key is absent and when its value is of another kind; the `require_*`
/// forms say in their error which of the two it was.
#[derive(Clone, Default)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Metadata {
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and values in the file's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub fn contains(&self, key: &str) -> bool {
        self.index.contains_key(key)
    }

    /// Adds a key; one that is there already is refused.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> Result<()> {
        let key = key.into();
        if self.contains(&key) {
            return Err(Error::invalid_model("the metadata has this key twice").key(key));
        }
        reserve(self.index.try_reserve(1))?;
        reserve(self.entries.try_reserve(1))?;
        self.index.insert(key.clone(), self.entries.len());
        self.entries.push((key, value));
        Ok(())
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(*self.index.get(key)?).map(|(_, value)| value)
    }

    /// An integer of any kind that fits.
    pub fn u32(&self, key: &str) -> Option<u32> {
        self.get(key)?.integer()?.try_into().ok()
    }

    /// An integer of any kind that fits.
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// A number of any kind, rounded to the nearest f32.
    pub fn f32(&self, key: &str) -> Option<f32> {
        match self.get(key)? {
            Value::F32(v) => Some(*v),
            Value::F64(v) => Some(*v as f32),
            value => value.integer().map(|v| v as f32),
        }
    }

    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(v) => Some(*v),
            _ => None,
        }
    }

    pub fn str(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::String(v) => Some(v),
            _ => None,
        }
    }

    pub fn array(&self, key: &str) -> Option<&Array> {
        match self.get(key)? {
            Value::Array(v) => Some(v),
            _ => None,
        }
    }

    pub fn strings(&self, key: &str) -> Option<&StringArray> {
        match self.array(key)? {
            Array::Strings(v) => Some(v),
            _ => None,
        }
    }

    /// An array of numbers of any kind, each rounded to the nearest f32.
    pub fn f32s(&self, key: &str) -> Option<Cow<'_, [f32]>> {
        Some(match self.array(key)? {
            Array::F32(v) => Cow::Borrowed(v),
            Array::F64(v) => v.iter().map(|&v| v as f32).collect(),
            Array::U8(v) => v.iter().map(|&v| v.into()).collect(),
            Array::I8(v) => v.iter().map(|&v| v.into()).collect(),
            Array::U16(v) => v.iter().map(|&v| v.into()).collect(),
            Array::I16(v) => v.iter().map(|&v| v.into()).collect(),
            Array::U32(v) => v.iter().map(|&v| v as f32).collect(),
            Array::I32(v) => v.iter().map(|&v| v as f32).collect(),
            Array::U64(v) => v.iter().map(|&v| v as f32).collect(),
            Array::I64(v) => v.iter().map(|&v| v as f32).collect(),
            Array::Bool(_) | Array::Strings(_) | Array::Nested(_) => return None,
        })
    }

    /// An array of integers of any kind, if every one of them fits.
    pub fn u32s(&self, key: &str) -> Option<Cow<'_, [u32]>> {
        fn narrow<T: Copy + TryInto<u32>>(values: &[T]) -> Option<Cow<'static, [u32]>> {
            values.iter().map(|&v| v.try_into().ok()).collect::<Option<Vec<u32>>>().map(Cow::Owned)
        }
        match self.array(key)? {
            Array::U32(v) => Some(Cow::Borrowed(v)),
            Array::U8(v) => narrow(v),
            Array::I8(v) => narrow(v),
            Array::U16(v) => narrow(v),
            Array::I16(v) => narrow(v),
            Array::I32(v) => narrow(v),
            Array::U64(v) => narrow(v),
            Array::I64(v) => narrow(v),
            Array::F32(_) | Array::F64(_) | Array::Bool(_) | Array::Strings(_) | Array::Nested(_) => None,
        }
    }

    pub fn bools(&self, key: &str) -> Option<&[bool]> {
        match self.array(key)? {
            Array::Bool(v) => Some(v),
            _ => None,
        }
    }

    pub fn require_u32(&self, key: &str) -> Result<u32> {
        self.u32(key).ok_or_else(|| self.missing(key, "an integer of 32 bits"))
    }

    pub fn require_u64(&self, key: &str) -> Result<u64> {
        self.u64(key).ok_or_else(|| self.missing(key, "an integer of 64 bits"))
    }

    pub fn require_f32(&self, key: &str) -> Result<f32> {
        self.f32(key).ok_or_else(|| self.missing(key, "a number"))
    }

    pub fn require_str(&self, key: &str) -> Result<&str> {
        self.str(key).ok_or_else(|| self.missing(key, "a string"))
    }

    pub fn require_strings(&self, key: &str) -> Result<&StringArray> {
        self.strings(key).ok_or_else(|| self.missing(key, "an array of strings"))
    }

    fn missing(&self, key: &str, wanted: &str) -> Error {
        match self.get(key) {
            None => Error::invalid_model(format!("the metadata lacks a key that must be there: {wanted}")),
            Some(value) => {
                // Of an integer that was refused, the number is the news.
                let found = match value.integer() {
                    Some(number) => number.to_string(),
                    None => value.describe().to_owned(),
                };
                Error::invalid_model(format!("the metadata has {found} where {wanted} must be"))
            }
        }
        .key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn sample() -> Metadata {
        let mut metadata = Metadata::new();
        for (key, value) in [
            ("u8", Value::U8(7)),
            ("i64", Value::I64(-1)),
            ("u64", Value::U64(u64::MAX)),
            ("f64", Value::F64(0.5)),
            ("bool", Value::Bool(true)),
            ("string", Value::String("text".into())),
            ("strings", Value::Array(Array::Strings(["a", "b"].into_iter().collect()))),
            ("i32s", Value::Array(Array::I32(vec![1, 2]))),
            ("negatives", Value::Array(Array::I32(vec![1, -2]))),
            ("f32s", Value::Array(Array::F32(vec![0.25]))),
            ("bools", Value::Array(Array::Bool(vec![true, false]))),
        ] {
            metadata.insert(key, value).unwrap();
        }
        metadata
    }

    #[test]
    fn getters_convert_what_fits() {
        let m = sample();
        assert_eq!((m.u32("u8"), m.u64("u8"), m.f32("u8")), (Some(7), Some(7), Some(7.0)));
        assert_eq!((m.u32("i64"), m.u64("i64"), m.f32("i64")), (None, None, Some(-1.0)));
        assert_eq!((m.u32("u64"), m.u64("u64")), (None, Some(u64::MAX)));
        assert_eq!((m.f32("f64"), m.u32("f64"), m.bool("bool")), (Some(0.5), None, Some(true)));
        assert_eq!((m.u32("bool"), m.str("string"), m.str("u8")), (None, Some("text"), None));
        assert_eq!(m.strings("strings").map(StringArray::len), Some(2));
        assert_eq!(m.u32s("i32s").as_deref(), Some(&[1, 2][..]));
        assert_eq!(m.u32s("negatives"), None);
        assert_eq!(m.f32s("negatives").as_deref(), Some(&[1.0, -2.0][..]));
        assert_eq!(m.f32s("f32s").as_deref(), Some(&[0.25][..]));
        assert_eq!(m.bools("bools"), Some(&[true, false][..]));
        assert_eq!(m.f32s("bools"), None);
        assert_eq!(m.iter().map(|(key, _)| key).next(), Some("u8"));
    }

    #[test]
    fn requirements_name_the_key() {
        let m = sample();
        assert_eq!(m.require_u32("u8"), Ok(7));
        for error in [
            m.require_u32("absent").unwrap_err(),
            m.require_u32("i64").unwrap_err(),
            m.require_u64("f64").unwrap_err(),
            m.require_f32("string").unwrap_err(),
            m.require_str("u8").unwrap_err(),
            m.require_strings("i32s").map(|_| ()).unwrap_err(),
        ] {
            assert_eq!(error.code, Code::InvalidModel);
            assert!(error.key.is_some(), "{error}");
        }
        assert!(m.require_u32("i64").unwrap_err().message.contains("-1"));
    }

    #[test]
    fn a_key_is_there_once() {
        let mut m = sample();
        let error = m.insert("u8", Value::U8(8)).unwrap_err();
        assert_eq!((error.code, error.key.as_deref()), (Code::InvalidModel, Some("u8")));
        assert_eq!(m.u32("u8"), Some(7));
    }
}
