//! Values that minijinja has no like of: numbers that Python writes with an exponent, and text that is marked safe. They
//! are shown, and passed on; what else Python does with them ends with an error and not with another text.

use super::pyjson;
use minijinja::value::{Object, ObjectRepr, Value, ValueKind};
use std::fmt;
use std::sync::Arc;

/// A number, as Python shows it.
pub fn number(value: f64) -> Value {
    // Elsewhere minijinja shows it in the same way.
    match value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
        true => Value::from(value),
        false => Value::from_object(Exponent(value)),
    }
}

/// The filter `safe`. In Python, whatever is added to such a text is escaped for HTML.
pub fn safe(text: String) -> Value {
    Value::from_object(Safe(text))
}

/// The number that a value is; also one of those that minijinja does not know as such.
pub fn as_number(value: &Value) -> Option<f64> {
    match value.downcast_object_ref::<Exponent>() {
        Some(Exponent(number)) => Some(*number),
        None if value.kind() == ValueKind::Number => f64::try_from(value.clone()).ok(),
        None => None,
    }
}

/// The text that a value is, likewise.
pub fn as_text(value: &Value) -> Option<&str> {
    match value.downcast_object_ref::<Safe>() {
        Some(Safe(text)) => Some(text),
        None => value.as_str(),
    }
}

#[derive(Debug)]
struct Exponent(f64);

impl Object for Exponent {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&pyjson::float(self.0))
    }
}

#[derive(Debug)]
struct Safe(String);

impl Object for Safe {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        !self.0.is_empty()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
