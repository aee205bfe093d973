//! What Python's strings and Jinja's tests say where minijinja's differ: which characters are white space, and which
//! values are sequences.

use super::python;
use minijinja::value::{Kwargs, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

/// A method of a string, a list or a mapping.
pub fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    match python::as_text(value) {
        Some(text) => match string_method(text, method, args)? {
            Some(result) => Ok(result),
            None => pycompat::unknown_method_callback(state, &Value::from(text), method, args),
        },
        None => pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// The filter `trim`, which is `strip`.
pub fn trim(value: &Value, chars: Option<&str>) -> String {
    strip(&value.to_string(), chars, true, true).to_owned()
}

/// The filter `indent(width=4, first=false, blank=false)`. A line break at the end stays, for Python.
pub fn indent(
    value: &Value,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    named: Kwargs,
) -> Result<String, Error> {
    const WIDEST: usize = 64;
    let width = width.or(named.get("width")?);
    let indention = match &width {
        None => " ".repeat(4),
        Some(width) => match width.as_str() {
            Some(text) if text.len() <= WIDEST => text.to_owned(),
            Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "indent: the text is too long")),
            None => " ".repeat(usize::try_from(width.clone())?.min(WIDEST)),
        },
    };
    let first = first.or(named.get("first")?).unwrap_or(false);
    let blank = blank.or(named.get("blank")?).unwrap_or(false);
    named.assert_all_used()?;
    let text = value.to_string() + "\n";
    let mut out = String::new();
    for (index, line) in split_lines(&text, false).into_iter().enumerate() {
        out.push_str(if index == 0 { "" } else { "\n" });
        let indents = if index == 0 { first } else { blank || !line.is_empty() };
        out.push_str(if indents { &indention } else { "" });
        out.push_str(line);
    }
    Ok(out)
}

/// The test `sequence`: what has a length and items, for Python.
pub fn is_sequence(value: &Value) -> bool {
    value.is_undefined()
        || matches!(value.kind(), ValueKind::Seq | ValueKind::Map)
        || python::as_text(value).is_some()
}

/// The test `iterable`; `none` is not, for Python.
pub fn is_iterable(value: &Value) -> bool {
    is_sequence(value) || value.kind() == ValueKind::Iterable
}

/// The test `number`: booleans are, for Python.
pub fn is_number(value: &Value) -> bool {
    value.kind() == ValueKind::Bool || python::as_number(value).is_some()
}

fn string_method(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            Value::from(strip(text, chars, method != "rstrip", method != "lstrip"))
        }
        "split" | "rsplit" => {
            let (separator, limit, named): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
            let separator = separator.or(named.get("sep")?);
            let limit = limit.or(named.get("maxsplit")?).and_then(|limit| usize::try_from(limit).ok());
            named.assert_all_used()?;
            if separator == Some("") {
                return Err(Error::new(ErrorKind::InvalidOperation, "split: the separator is empty"));
            }
            let parts = if method == "split" {
                split(text, separator, limit)
            } else {
                split_from_end(text, separator, limit)
            };
            Value::from_iter(parts)
        }
        "splitlines" => {
            let (keep, named): (Option<bool>, Kwargs) = from_args(args)?;
            let keep = keep.or(named.get("keepends")?).unwrap_or(false);
            named.assert_all_used()?;
            Value::from_iter(split_lines(text, keep))
        }
        "isspace" => {
            let () = from_args(args)?;
            Value::from(!text.is_empty() && text.chars().all(is_space))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        _ => return Ok(None),
    }))
}

/// Python also counts the four separators of ASCII as white space.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn strip<'t>(text: &'t str, chars: Option<&str>, start: bool, end: bool) -> &'t str {
    let goes = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if start { text.trim_start_matches(goes) } else { text };
    if end { text.trim_end_matches(goes) } else { text }
}

fn split<'t>(text: &'t str, separator: Option<&str>, limit: Option<usize>) -> Vec<&'t str> {
    match (separator, limit) {
        (Some(separator), None) => text.split(separator).collect(),
        (Some(separator), Some(limit)) => text.splitn(limit.saturating_add(1), separator).collect(),
        (None, limit) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_start_matches(is_space);
            while !rest.is_empty() {
                let whole = limit.is_some_and(|limit| parts.len() == limit);
                let end = if whole { None } else { rest.find(is_space) };
                let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
                parts.push(part);
                rest = after.trim_start_matches(is_space);
            }
            parts
        }
    }
}

fn split_from_end<'t>(text: &'t str, separator: Option<&str>, limit: Option<usize>) -> Vec<&'t str> {
    let mut parts: Vec<&str> = match (separator, limit) {
        (Some(separator), None) => text.rsplit(separator).collect(),
        (Some(separator), Some(limit)) => text.rsplitn(limit.saturating_add(1), separator).collect(),
        (None, limit) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_end_matches(is_space);
            while !rest.is_empty() {
                let whole = limit.is_some_and(|limit| parts.len() == limit);
                let space = if whole { None } else { rest.char_indices().rev().find(|&(_, c)| is_space(c)) };
                let (before, part) = rest.split_at(space.map_or(0, |(at, c)| at + c.len_utf8()));
                parts.push(part);
                rest = before.trim_end_matches(is_space);
            }
            parts
        }
    };
    parts.reverse();
    parts
}

fn split_lines(text: &str, keep: bool) -> Vec<&str> {
    let ends = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|&(_, c)| ends(c)) {
        let after = at + if rest[at..].starts_with("\r\n") { 2 } else { c.len_utf8() };
        lines.push(&rest[..if keep { after } else { at }]);
        rest = &rest[after..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_as_in_python() {
        assert_eq!(strip("\u{1c} a\u{a0}\u{1f}", None, true, true), "a");
        assert_eq!(strip("\u{200b}a", None, true, true), "\u{200b}a");
        assert_eq!(strip("xyaxy", Some("yx"), true, false), "axy");
        assert_eq!(split(" a  b c ", None, None), ["a", "b", "c"]);
        assert_eq!(split(" a  b c ", None, Some(1)), ["a", "b c "]);
        assert_eq!(split(" ", None, Some(0)), [""; 0]);
        assert_eq!(split("a,b,", Some(","), Some(1)), ["a", "b,"]);
        assert_eq!(split("", Some(","), None), [""]);
        assert_eq!(split_from_end(" a  b c ", None, Some(1)), [" a  b", "c"]);
        assert_eq!(split_from_end("a,b,c", Some(","), Some(1)), ["a,b", "c"]);
        assert_eq!(split_lines("a\r\nb\n\nc\u{85}", false), ["a", "b", "", "c"]);
        assert_eq!(split_lines("a\r\nb", true), ["a\r\n", "b"]);
    }
}
