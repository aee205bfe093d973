//! Whether a JSON Schema asks for values without end: `{ "$ref": "#" }` in a required property does.
//!
//! llguidance follows such a schema for ever, for each token is the beginning of something. A value is finite if it can
//! be had from finite ones: of the schemas that others refer to, those are found first that need no other, then those
//! that need only these, until no more is found.

use serde_json::{Map, Value};
use std::collections::HashMap;

/// Whether some finite value may satisfy the schema. What this does not know of a schema it takes for satisfiable.
pub fn is_finite(schema: &Value) -> bool {
    let mut found = HashMap::new();
    references(schema, &mut found);
    let names: Vec<String> = found.keys().cloned().collect();
    loop {
        let mut more = false;
        for name in &names {
            if !found[name] && target(schema, name).is_none_or(|target| ends(target, &found)) {
                found.insert(name.clone(), true);
                more = true;
            }
        }
        if !more {
            return ends(schema, &found);
        }
    }
}

/// Notes each schema that is referred to as one that no finite value is known of yet.
fn references(value: &Value, found: &mut HashMap<String, bool>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(name)) = object.get("$ref") {
                found.insert(name.clone(), false);
            }
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// What a reference within the schema names. Others are llguidance's to refuse.
fn target<'s>(schema: &'s Value, name: &str) -> Option<&'s Value> {
    schema.pointer(name.strip_prefix('#')?)
}

/// Whether a finite value may satisfy it, given what is known of references.
fn ends(schema: &Value, found: &HashMap<String, bool>) -> bool {
    let Value::Object(schema) = schema else { return true };
    let all = |key: &str| each(schema, key).all(|part| ends(part, found));
    let one = |key: &str| schema.get(key).is_none() || each(schema, key).any(|part| ends(part, found));
    let refers = schema.get("$ref").and_then(Value::as_str);
    refers.is_none_or(|name| found.get(name).copied().unwrap_or(true))
        && all("allOf")
        && one("anyOf")
        && one("oneOf")
        && (!is_only(schema, "object") || required(schema).all(|property| ends(property, found)))
        && (!is_only(schema, "array") || items(schema).all(|item| ends(item, found)))
}

fn each<'s>(schema: &'s Map<String, Value>, key: &str) -> impl Iterator<Item = &'s Value> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Whether values of the schema are of this type and no other.
fn is_only(schema: &Map<String, Value>, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().all(|of| of == kind) && !kinds.is_empty(),
        Some(of) => of == kind,
        None => false,
    }
}

/// The properties that an object has to have.
fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let names = each(schema, "required").filter_map(Value::as_str);
    names.filter_map(|name| schema.get("properties")?.get(name))
}

/// The items that an array has to have.
fn items(schema: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
    let first = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let count = usize::try_from(least).unwrap_or(usize::MAX);
    let more = schema.get("items").filter(|_| count > first.len());
    first.iter().take(count).chain(more)
}

#[cfg(test)]
mod tests {
    use super::is_finite;
    use serde_json::json;

    #[test]
    fn values_that_never_end_are_told() {
        let node = |required: &str| {
            json!({
                "$ref": "#/$defs/node",
                "$defs": { "node": {
                    "type": "object",
                    "properties": { "value": { "type": "integer" }, "next": { "$ref": "#/$defs/node" } },
                    "required": [required],
                } },
            })
        };
        assert!(is_finite(&node("value")));
        assert!(!is_finite(&node("next")));
        let list = |least: u64| json!({ "type": "array", "items": { "$ref": "#" }, "minItems": least });
        assert!(is_finite(&list(0)));
        assert!(!is_finite(&list(1)));
        let either = |other: serde_json::Value| {
            json!({
                "type": "object",
                "properties": { "child": { "anyOf": [{ "$ref": "#" }, other] } },
                "required": ["child"],
            })
        };
        assert!(is_finite(&either(json!({ "type": "null" }))));
        assert!(!is_finite(&either(json!({ "$ref": "#" }))));
        assert!(!is_finite(&json!({ "$ref": "#" })));
        // Two that need each other, and one that needs neither.
        let pair = |from: &str| {
            json!({
                "$ref": from,
                "$defs": {
                    "a": { "allOf": [{ "$ref": "#/$defs/b" }] },
                    "b": { "type": "array", "prefixItems": [{ "$ref": "#/$defs/a" }], "minItems": 1 },
                    "c": { "type": ["object", "null"], "properties": { "a": { "$ref": "#/$defs/a" } }, "required": ["a"] },
                },
            })
        };
        assert!(!is_finite(&pair("#/$defs/a")));
        assert!(!is_finite(&pair("#/$defs/b")));
        assert!(is_finite(&pair("#/$defs/c")));
        let tuple = |least: u64| json!({ "type": "array", "prefixItems": [{ "type": "null" }], "items": { "$ref": "#" }, "minItems": least });
        assert!(is_finite(&tuple(1)));
        assert!(!is_finite(&tuple(2)));
        assert!(is_finite(&json!(true)));
    }
}
